/** What `upstream.ts` asks of the connections of either version. */
import type { Clock } from "../clock.ts";
import type { Limits } from "../config/types.ts";
import type { FieldLines } from "../exchange.ts";
import type { Dialler } from "./dialler.ts";

/** What connections are made with. */
export interface ConnectionParts {
  readonly limits: Limits;
  readonly clock: Clock;
  readonly dialler: Dialler;
  /** Field lines that requests on a connection to this address carry besides their own, or "". */
  readonly markFor: (address: string) => FieldLines;
  /** A connection was made: `sweep` has something to look at. */
  readonly opened: () => void;
}

/** All connections of one version of HTTP. */
export interface Connections {
  /** Connections now. */
  readonly open: number;
  /** Those that carry no call. */
  readonly idle: number;
  /** Bytes that wait here for the upstream or, where the connection cannot be held back at once, for the application. */
  readonly bufferedBytes: number;
  /** Called every second or so while there are any: ends what has been silent for too long. */
  sweep(nowMs: number): void;
  /** The sandbox slept for so long that what was idle in it may be dead. */
  thawed(): void;
  /** Ends every connection; calls under way fail. */
  destroy(): void;
}
