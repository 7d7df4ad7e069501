/**
 * The cold start as one line for people.
 *
 * Owns the wording only; the facts are the timeline's.
 */
import type { TimelineEvent } from "./timeline.ts";

const WORDS: Partial<Record<TimelineEvent["kind"], string>> = {
  spawn: "spawned",
  "runtime-start": "spawned",
  register: "registered",
  "first-next": "ready",
  exit: "exited",
};

/**
 * The last init phase in `events`, each process in the order it appeared, times in ms since the phase began:
 * `cold start 184 ms: outrider spawned 1, registered 79, ready 91; runtime spawned 79, ready 184`. Empty without an init phase.
 */
export function coldStartLine(events: readonly TimelineEvent[]): string {
  const from = events.findLastIndex(({ kind }) => kind === "init-start");
  if (from < 0) return "";
  const startMs = events[from]!.atMs;
  const length = events.slice(from).findIndex(({ kind }) => kind === "init-done");
  const phase = events.slice(from, length < 0 ? undefined : from + length + 1);
  const steps = new Map<string, string[]>();
  for (const { kind, process, atMs } of phase) {
    const word = WORDS[kind];
    if (word === undefined || process === undefined) continue;
    steps.set(process, [...(steps.get(process) ?? []), `${word} ${Math.round(atMs - startMs)}`]);
  }
  const end = phase.at(-1)!;
  const failed = end.kind === "init-done" && end.detail !== "success" ? ` (${end.detail})` : "";
  const processes = [...steps].map(([process, list]) => `${process} ${list.join(", ")}`);
  return `cold start ${Math.round(end.atMs - startMs)} ms${failed}: ${processes.join("; ")}`;
}
