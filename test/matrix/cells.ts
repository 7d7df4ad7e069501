/**
 * The cells of the matrix: method × framing × keep-alive × early close × size × direction, as far as they make sense together.
 * What is done in a cell and what is observed is `play.ts`'s; over which way, `paths.ts`'s.
 */

/** How a request's body is framed. */
export type RequestFraming = "none" | "length" | "chunked";
/** How a response's body is framed; `none` is a 204, `close` ends with its connection. */
export type ResponseFraming = "none" | "length" | "chunked" | "close";
/** Who leaves in the middle of what. */
export type EarlyClose = "none" | "client in request" | "client in response" | "upstream in response";
/** `kept`: the call follows another on the application's connection, and a further one follows it. `new`: both sides close after it. */
export type KeepAlive = "new" | "kept";

/** One cell. */
export interface Cell {
  readonly method: string;
  readonly request: RequestFraming;
  readonly response: ResponseFraming;
  /** Bytes of each body that there is. */
  readonly size: number;
  readonly keepAlive: KeepAlive;
  readonly earlyClose: EarlyClose;
}

const METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"] as const;
/** Longer bodies are no longer handed on whole but streamed. */
const STREAMED_BYTES = 16 * 1024;
/** Nothing, next to nothing, both sides of that bound, and more than any buffer between the ends. */
const SIZES = [0, 1, STREAMED_BYTES - 1, STREAMED_BYTES + 1, 1024 * 1024] as const;
const REQUEST_FRAMINGS = ["none", "length", "chunked"] as const;
const RESPONSE_FRAMINGS = ["none", "length", "chunked", "close"] as const;

/** All early closes, in the order of the groups. */
export const EARLY_CLOSES = [
  "none",
  "client in request",
  "client in response",
  "upstream in response",
] as const;

/** Names a cell in a report. */
export const nameOf = ({ method, request, response, size, keepAlive, earlyClose }: Cell): string =>
  `${method}, request ${request}, response ${response}, ${size} bytes, ${keepAlive} connection, early close: ${earlyClose}`;

/** The cells whose early close is `earlyClose`. */
export function cellsOf(earlyClose: EarlyClose): Cell[] {
  const cells: Cell[] = [];
  for (const method of METHODS)
    for (const request of REQUEST_FRAMINGS)
      for (const response of RESPONSE_FRAMINGS)
        for (const size of SIZES)
          for (const keepAlive of ["new", "kept"] as const) {
            const cell: Cell = { method, request, response, size, keepAlive, earlyClose };
            if (makesSense(cell)) cells.push(cell);
          }
  return cells;
}

function makesSense({ method, request, response, size, earlyClose }: Cell): boolean {
  // Without any body there is one size.
  if (request === "none" && response === "none" && size > 0) return false;
  // Half of a body is streamed whatever its size: one size on this side of 16 KiB is enough where somebody leaves.
  if (earlyClose !== "none" && size === STREAMED_BYTES - 1) return false;
  switch (earlyClose) {
    case "none":
      return true;
    case "client in request":
      // The answer never comes, whatever it would have been.
      return request !== "none" && size > 0 && response === "length";
    case "client in response":
    case "upstream in response":
      return method !== "HEAD" && response !== "none" && size > 0;
  }
}
