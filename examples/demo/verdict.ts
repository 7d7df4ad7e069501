/** Whether both runs went as the demo claims. Pure. */
import { callsOf } from "./calls.ts";
import type { Invocation, Run } from "./run.ts";

/** What was not as it should be, a sentence each; empty when the demo shows what it claims. */
export function surprises(without: Run, governed: Run): string[] {
  return [
    ...callSurprises(without, "ungoverned", "without Outrider"),
    ...callSurprises(governed, "governed", "with Outrider"),
    ...summarySurprises(governed),
  ];
}

function callSurprises(run: Run, expected: "governed" | "ungoverned", where: string): string[] {
  return (["cold", "warm"] as const).flatMap((which) => {
    const invocation = run[which];
    const calls = callsOf(invocation)
      .filter(({ verdict }) => verdict !== expected)
      .map(
        ({ name, outcome, tries, traceIds }) =>
          `${where}, ${which}: ${name} should be ${expected}, but gave ${outcome} after ${tries} tries, trace ${traceIds.join(" ") || "none"} of ${invocation.traceId}`,
      );
    const failed = invocation.report.lookups.filter(({ status }) => status !== 200);
    const lookups = failed.map(
      ({ status, error }) => `${where}, ${which}: a repeated call to orders gave ${error ?? status}`,
    );
    return [...calls, ...lookups.slice(0, 1)];
  });
}

/** What Outrider wrote must agree with what the function and the upstreams saw. */
function summarySurprises({ cold, warm, summaries }: Run): string[] {
  if (summaries.length !== 2)
    return [`Outrider wrote ${summaries.length} summaries of two invocations; their lines are in its log`];
  return [cold, warm].flatMap((invocation, at) => {
    const { calls, failed, attempts } = summaries[at]!;
    const expected = { calls: callCount(invocation), failed: 0, attempts: requestCount(invocation) };
    const told = { calls, failed, attempts };
    return JSON.stringify(told) === JSON.stringify(expected)
      ? []
      : [`summary ${at + 1} of Outrider says ${JSON.stringify(told)}; seen were ${JSON.stringify(expected)}`];
  });
}

function callCount({ report: { search, lookups } }: Invocation): number {
  const single = 3;
  return single + search.calls.length + lookups.length;
}

function requestCount({ seen }: Invocation): number {
  return Object.values(seen).reduce((sum, requests) => sum + requests.length, 0);
}
