/**
 * Both runs side by side, as text of at most 100 columns, in ASCII.
 *
 * Owns the layout and the colours. Judges nothing.
 */
import { type Call, callsOf, lookupMs } from "./calls.ts";
import type { Run } from "./run.ts";

/** Widths in characters: 24 + 2 * (1 + 37) = 100. */
const PAGE_WIDTH = 100;
const NAME_WIDTH = 24;
const SIDE_WIDTH = 37;
const NOTE_INDENT = 9;

/** Colours a text, or leaves it. */
export interface Paint {
  good(text: string): string;
  bad(text: string): string;
  strong(text: string): string;
}

/** Colours of the terminal (ECMA-48 SGR) when they are welcome. */
export function paint(colour: boolean): Paint {
  const sgr = (code: number) => (text: string) => (colour ? `\x1b[${code}m${text}\x1b[0m` : text);
  return { good: sgr(32), bad: sgr(31), strong: sgr(1) };
}

/** The whole page. */
export function page(without: Run, governed: Run, paint: Paint): string {
  const { strong } = paint;
  const heads = side("outcome", "tries", "time", "trace");
  const lines = [
    strong(row("", "WITHOUT OUTRIDER".padEnd(SIDE_WIDTH), "WITH OUTRIDER").trimEnd()),
    row("", heads, heads),
    ...invocationLines("cold", without, governed, paint),
    ...invocationLines("warm", without, governed, paint),
    "",
    ...note("without", without.coldStart),
    ...note("with", governed.coldStart),
    ...note("added", addedLine(without, governed)),
    ...note("logged", summaryLine(governed)),
  ];
  return `${lines.join("\n")}\n`;
}

function invocationLines(which: "cold" | "warm", without: Run, governed: Run, paint: Paint): string[] {
  const left = callsOf(without[which]);
  const right = callsOf(governed[which]);
  return [
    paint.strong(`${which} invocation`),
    ...left.map((call, at) =>
      row(`  ${call.name.padEnd(9)}${call.trait}`, sideOf(call, paint), sideOf(right[at]!, paint)),
    ),
  ];
}

function row(name: string, left: string, right: string): string {
  return `${name.padEnd(NAME_WIDTH)} ${left} ${right}`;
}

function sideOf({ outcome, tries, ms, traceIds, verdict }: Call, paint: Paint): string {
  const trace = traceIds.length > 1 ? `${traceIds.length} ids` : (traceIds[0]?.slice(0, 8) ?? "-");
  const text = side(outcome, String(tries), `${ms < 9.95 ? ms.toFixed(1) : Math.round(ms)} ms`, trace);
  return verdict === "governed" ? paint.good(text) : paint.bad(text);
}

function side(outcome: string, tries: string, time: string, trace: string): string {
  // The longest outcome is the code of an error, UND_ERR_SOCKET.
  return `${outcome.padEnd(14)}${tries.padStart(6)}${time.padStart(8)}${trace.padStart(9)}`;
}

/** A line with a heading, broken at spaces where it is too long. */
function note(heading: string, text: string): string[] {
  const lines = [""];
  for (const word of text.split(" ")) {
    if (lines.at(-1)!.length + word.length > PAGE_WIDTH - NOTE_INDENT) lines.push("");
    lines[lines.length - 1] += `${word} `;
  }
  return lines.map((line, at) => (at === 0 ? heading : "").padEnd(NOTE_INDENT) + line.trimEnd());
}

function addedLine(without: Run, governed: Run): string {
  const [before, after] = [lookupMs(without.warm), lookupMs(governed.warm)];
  const initMs = Math.round(governed.initMs) - Math.round(without.initMs);
  const callMs = after - before;
  const count = governed.warm.report.lookups.length;
  const noise = initMs < 0 || callMs < 0 ? "; less than nothing is the noise of a busy machine" : "";
  return `${initMs} ms of cold start; ${callMs.toFixed(2)} ms a call (median of ${count} warm ones: ${before.toFixed(2)} -> ${after.toFixed(2)} ms)${noise}`;
}

/** What the log's summary line of the warm invocation is shown of here. */
const SHOWN_FIELDS = [
  "calls",
  "failed",
  "attempts",
  "retries",
  "connects",
  "handshakes",
  "reused_ratio",
  "blocked_ms",
];

function summaryLine({ summaries }: Run): string {
  const line = summaries.at(-1) ?? {};
  return SHOWN_FIELDS.map((name) => `${name}=${line[name]}`).join(" ");
}
