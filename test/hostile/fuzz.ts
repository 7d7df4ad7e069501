/**
 * `npm run fuzz -- [--seconds N] [--seed N]`: compares our reading of generated messages with Node's until the time is up. Prints
 * the seed first, so that a find can be repeated; exit code 1 when there is one.
 */
import { parseArgs } from "node:util";
import { type Comparison, compareRequests, compareResponses } from "./differential.ts";

/** Messages of each kind between two looks at the clock. */
const BATCH = 500;
/** Finds that are printed. */
const PRINTED_MAX = 10;

const { values } = parseArgs({
  options: { seconds: { type: "string", default: "60" }, seed: { type: "string", default: "" } },
});
const seconds = Number(values.seconds);
const first = values.seed === "" ? Date.now() % 1_000_000_000 : Number(values.seed);
if (!(seconds > 0) || !Number.isInteger(first)) {
  console.error("fuzz: --seconds takes a positive number and --seed a whole one");
  process.exit(2);
}

console.log(`seed ${first}, ${seconds} s, node ${process.version}`);
const totals = { compared: 0, accepted: 0, finds: 0 };
const until = performance.now() + seconds * 1000;
for (let seed = first; performance.now() < until; seed += BATCH) {
  report("request", await compareRequests(seed, BATCH));
  report("response", await compareResponses(seed, BATCH));
}
console.log(
  `${totals.compared} messages compared, ${totals.accepted} accepted by us, ${totals.finds} differences`,
);
process.exit(totals.finds > 0 ? 1 : 0);

function report(kind: string, { compared, accepted, differences }: Comparison): void {
  totals.compared += compared;
  totals.accepted += accepted;
  for (const { seed, stream, why } of differences) {
    totals.finds += 1;
    if (totals.finds <= PRINTED_MAX) console.log(`${kind} ${seed}: ${why}\n  ${JSON.stringify(stream)}`);
  }
}
