/**
 * One event, one line of JSON. The only importer of `pino`, and of the idle tier: nobody waits for it to load.
 *
 * Owns the shape of the JSON. Which fields there are is `record.ts` and `summary.ts`; how it is made harmless and
 * reaches the kernel, `line-writer.ts`.
 */
import { pino } from "pino";
import type { Clock } from "../clock.ts";
import { closeDestination, type Descriptor, openDestination } from "./destination.ts";
import { LineWriter } from "./line-writer.ts";
import type { EventLog } from "./outlet.ts";

/** A log that can be closed. */
export interface ClosableLog extends EventLog {
  /** Closes the destination; what is not written is lost. */
  close(): Promise<void>;
}

/**
 * Opens the log.
 * @param destination `stdout`, `stderr` or `file:/path`
 * @throws Error with one sentence when the destination cannot be opened
 */
export async function openLog(destination: string, clock: Clock): Promise<ClosableLog> {
  return makeLog(await openDestination(destination), clock);
}

/** A log on an open descriptor. */
export function makeLog(descriptor: Descriptor, clock: Clock): ClosableLog {
  const writer = new LineWriter(descriptor, clock);
  const logger = makeLogger((line) => writer.add(line));
  return {
    write: (level, fields) => logger[level](fields),
    send: () => writer.send(),
    close: () => closeDestination(descriptor),
    get full() {
      return writer.full;
    },
    get idle() {
      return writer.idle;
    },
    get lostLines() {
      return writer.lostLines;
    },
    get onProgress() {
      return writer.onProgress;
    },
    set onProgress(listener) {
      writer.onProgress = listener;
    },
  };
}

/**
 * pino without its own time, process id and host name: the records carry what they need. `level` is a word, as log filters
 * expect.
 */
function makeLogger(add: (line: string) => void) {
  return pino(
    { level: "info", base: null, timestamp: false, formatters: { level: (label) => ({ level: label }) } },
    { write: add },
  );
}
