/**
 * The one error class of the data path and the closed table of its codes.
 *
 * Two edges translate: `upstream/failure.ts` turns what Node throws into an `EgressError`, `listener/reply.ts` turns an
 * `EgressError` into bytes. Nothing in between maps errors. What the client sees is `meaning`, a static text: the message and
 * the cause, which may name addresses, are for the log only.
 */

/** Who is to blame, for metrics and for the breaker: the calling application, this proxy's policy, or the upstream. */
export type Blame = "client" | "proxy" | "upstream";

/** How far the failed attempt had come, which is what decides whether sending it again can do harm. */
export type Reached =
  /** Nothing was sent: any method may be sent again. */
  | "unsent"
  /** Bytes were sent and the upstream may have acted: only idempotent methods may be sent again. */
  | "sent"
  /** The response had begun, or sending again cannot help: never sent again. */
  | "final";

interface CodeFacts {
  /** Status of the reply that the proxy makes; 0 where no reply is possible any more. */
  readonly status: number;
  readonly blame: Blame;
  readonly reached: Reached;
  /** The room that refuses, as the reply's body names it. */
  readonly stage: string;
  /** One static sentence for the application's developer. Never contains data of the exchange. */
  readonly meaning: string;
}

const facts = <const T extends Record<string, CodeFacts>>(table: T): T => table;

/** Every code that exists. The key is what `Outrider-Error` carries; keys are stable across releases. */
export const ERROR_CODES = facts({
  BAD_REQUEST: {
    status: 400,
    blame: "client",
    reached: "final",
    stage: "listener",
    meaning: "The request is not valid HTTP/1.1, or it can be read in more than one way.",
  },
  BAD_TARGET: {
    status: 400,
    blame: "client",
    reached: "final",
    stage: "capture",
    meaning: "The request does not say clearly where it wants to go.",
  },
  MISDIRECTED: {
    status: 421,
    blame: "client",
    reached: "final",
    stage: "capture",
    meaning: "The request inside a tunnel names another host than the tunnel.",
  },
  HEAD_TIMEOUT: {
    status: 408,
    blame: "client",
    reached: "final",
    stage: "listener",
    meaning: "The head of the request did not arrive in time.",
  },
  BODY_TIMEOUT: {
    status: 408,
    blame: "client",
    reached: "final",
    stage: "listener",
    meaning: "The body of the request stopped arriving.",
  },
  TARGET_TOO_LONG: {
    status: 414,
    blame: "client",
    reached: "final",
    stage: "listener",
    meaning: "The request target is longer than limits.target_bytes.",
  },
  EXPECTATION_FAILED: {
    status: 417,
    blame: "client",
    reached: "final",
    stage: "listener",
    meaning: "The only expectation that can be met is 100-continue.",
  },
  HEAD_TOO_LARGE: {
    status: 431,
    blame: "client",
    reached: "final",
    stage: "listener",
    meaning:
      "The head of the request is larger than limits.head_bytes or has more fields than limits.header_count.",
  },
  CODING_UNSUPPORTED: {
    status: 501,
    blame: "client",
    reached: "final",
    stage: "listener",
    meaning: "The only transfer coding that is understood is chunked.",
  },
  VERSION_UNSUPPORTED: {
    status: 505,
    blame: "client",
    reached: "final",
    stage: "listener",
    meaning: "Only HTTP/1.0 and HTTP/1.1 are understood here.",
  },
  TUNNEL_IDLE: {
    status: 0,
    blame: "client",
    reached: "final",
    stage: "listener",
    meaning: "No byte passed through the tunnel for limits.tunnel_idle.",
  },
  SUPERSEDED: {
    status: 0,
    blame: "proxy",
    reached: "final",
    stage: "retry",
    meaning: "Another attempt of the call took the place of this one.",
  },
  CLIENT_GONE: {
    status: 0,
    blame: "client",
    reached: "final",
    stage: "listener",
    meaning: "The application closed its connection before the response was complete.",
  },

  DENIED: {
    status: 403,
    blame: "proxy",
    reached: "final",
    stage: "admit",
    meaning: "The policy does not allow this destination.",
  },
  ADDRESS_DENIED: {
    status: 403,
    blame: "proxy",
    reached: "final",
    stage: "admit",
    meaning: "The destination resolves to an address that the policy does not allow.",
  },
  RATE_LIMITED: {
    status: 429,
    blame: "proxy",
    reached: "final",
    stage: "rate limit",
    meaning: "The destination's rate limit is used up.",
  },
  CONCURRENCY_LIMITED: {
    status: 503,
    blame: "proxy",
    reached: "final",
    stage: "concurrency limit",
    meaning: "The destination has as many calls in flight as its policy allows.",
  },
  CIRCUIT_OPEN: {
    status: 503,
    blame: "proxy",
    reached: "unsent",
    stage: "circuit breaker",
    meaning: "The destination has failed too often; it is not called for a while.",
  },
  BUDGET_SPENT: {
    status: 429,
    blame: "proxy",
    reached: "final",
    stage: "invocation budget",
    meaning: "The invocation has spent what limits.per_invocation allows it.",
  },
  LOOP_DETECTED: {
    status: 508,
    blame: "client",
    reached: "final",
    stage: "capture",
    meaning: "The call has come through this proxy before.",
  },
  FAULT_INJECTED: {
    status: 503,
    blame: "upstream",
    reached: "unsent",
    stage: "fault",
    meaning: "The policy makes this call fail on purpose.",
  },
  OVERLOADED: {
    status: 503,
    blame: "proxy",
    reached: "final",
    stage: "listener",
    meaning: "The proxy is at one of its own limits.",
  },
  DRAINING: {
    status: 503,
    blame: "proxy",
    reached: "final",
    stage: "listener",
    meaning: "The proxy is shutting down.",
  },
  IDENTITY_UNAVAILABLE: {
    status: 502,
    blame: "proxy",
    reached: "final",
    stage: "identity",
    meaning: "The client certificate or trust that the policy asks for could not be loaded.",
  },
  INTERNAL: {
    status: 500,
    blame: "proxy",
    reached: "final",
    stage: "proxy",
    meaning: "The proxy failed on this request; the log has the details.",
  },

  DEADLINE_EXCEEDED: {
    status: 504,
    blame: "upstream",
    reached: "final",
    stage: "deadline",
    meaning: "The call's deadline passed before the upstream answered.",
  },
  PER_TRY_TIMEOUT: {
    status: 504,
    blame: "upstream",
    reached: "sent",
    stage: "upstream",
    meaning: "The upstream did not answer within per_try_timeout.",
  },
  DNS_FAILED: {
    status: 502,
    blame: "upstream",
    reached: "unsent",
    stage: "upstream",
    meaning: "The destination's name could not be resolved.",
  },
  DNS_TIMEOUT: {
    status: 504,
    blame: "upstream",
    reached: "unsent",
    stage: "upstream",
    meaning: "Resolving the destination's name took longer than dns_timeout.",
  },
  CONNECT_FAILED: {
    status: 502,
    blame: "upstream",
    reached: "unsent",
    stage: "upstream",
    meaning: "No connection to the upstream could be made.",
  },
  CONNECT_TIMEOUT: {
    status: 504,
    blame: "upstream",
    reached: "unsent",
    stage: "upstream",
    meaning: "Connecting to the upstream took longer than connect_timeout.",
  },
  TLS_FAILED: {
    status: 502,
    blame: "upstream",
    reached: "unsent",
    stage: "upstream",
    meaning: "The TLS handshake with the upstream failed.",
  },
  TLS_TIMEOUT: {
    status: 504,
    blame: "upstream",
    reached: "unsent",
    stage: "upstream",
    meaning: "The TLS handshake with the upstream took longer than tls_timeout.",
  },
  CERTIFICATE_REJECTED: {
    status: 502,
    blame: "upstream",
    reached: "final",
    stage: "upstream",
    meaning: "The upstream's certificate did not pass verification.",
  },
  UPSTREAM_RESET: {
    status: 502,
    blame: "upstream",
    reached: "sent",
    stage: "upstream",
    meaning: "The upstream closed the connection before it answered.",
  },
  STREAM_REFUSED: {
    status: 503,
    blame: "upstream",
    reached: "unsent",
    stage: "upstream",
    meaning: "The upstream refused the HTTP/2 stream before it looked at the request.",
  },
  VERSION_REFUSED: {
    status: 502,
    blame: "upstream",
    reached: "final",
    stage: "upstream",
    meaning: "The upstream does not speak the HTTP version that the policy asks for.",
  },
  UPSTREAM_INVALID: {
    status: 502,
    blame: "upstream",
    reached: "final",
    stage: "upstream",
    meaning: "The upstream's answer is not valid HTTP, or it can be read in more than one way.",
  },
  UPSTREAM_TIMEOUT: {
    status: 504,
    blame: "upstream",
    reached: "sent",
    stage: "upstream",
    meaning: "The upstream was silent for longer than idle_timeout.",
  },
  UPSTREAM_ABORTED: {
    status: 502,
    blame: "upstream",
    reached: "final",
    stage: "upstream",
    meaning: "The upstream broke off in the middle of its answer.",
  },
});

/** A key of `ERROR_CODES`. */
export type ErrorCode = keyof typeof ERROR_CODES;

/** Thrown (or carried by an abort) wherever the data path refuses or fails. */
export class EgressError extends Error {
  readonly code: ErrorCode;
  /** Field lines that the reply carries besides its own, for instance `Retry-After: 1\r\n`. */
  replyFields: string;
  /**
   * How far this attempt had come. Starts as the table says; the upstream room lowers it to "unsent" when it knows that no
   * byte of the request left.
   */
  reached: Reached;

  /**
   * @param message detail for the log; may name hosts, never secrets
   * @param cause what was caught, for the log
   */
  constructor(code: ErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "EgressError";
    this.code = code;
    this.reached = ERROR_CODES[code].reached;
    this.replyFields = "";
  }
}

/** The error itself when it is already ours; anything else is a defect of the proxy and becomes `INTERNAL`. */
export function asEgressError(error: unknown): EgressError {
  if (error instanceof EgressError) return error;
  return new EgressError("INTERNAL", error instanceof Error ? error.message : String(error), error);
}
