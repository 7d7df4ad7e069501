/**
 * The nouns of the data path: one call is an `EgressRequest` that a `Send` turns into an `EgressResponse`.
 *
 * A policy stage is `(options, clock) => Policy`; a `Policy` wraps one `Send` in another. Stages append facts to the call's
 * `trail` and never know that telemetry reads it. Headers are not the end of a call: whatever is held for it (a slot, a record)
 * is given back when `request.settled` fires, which is when the last byte has passed or the call was torn down.
 */
import type { Duplex } from "node:stream";
import { type Body, EMPTY_BODY } from "./body.ts";
import type { EgressError } from "./errors.ts";
import { Latch } from "./latch.ts";

/**
 * Validated header fields as they stood on the wire: `Name: value\r\n` for each line, in order and with their case, or "".
 * Only end-to-end fields: Host, Content-Length, Transfer-Encoding, Connection and everything else of one hop is not in here;
 * the codec writes those anew (RFC 9110 §7.6.1). Read and edit with `http1/fields.ts`.
 */
export type FieldLines = string;

/** `http` or `https`: what is spoken to the upstream, not what the application asked for. */
export type Scheme = "http" | "https";

/** Major version of HTTP. */
export type HttpVersion = 1 | 2;

/** What happened to a call, as stages report it; telemetry turns it into spans, metrics and log fields. */
export type TrailEntry =
  | { readonly kind: "attempt"; readonly attempt: AttemptFacts }
  | { readonly kind: "retry"; readonly attempt: number; readonly why: string; readonly waitMs: number }
  | { readonly kind: "no_retry"; readonly attempt: number; readonly why: string }
  | { readonly kind: "queued"; readonly stage: string; readonly waitMs: number }
  | { readonly kind: "limited"; readonly stage: string; readonly limit: number }
  | { readonly kind: "would_deny"; readonly rule: string }
  | { readonly kind: "denied"; readonly rule: string }
  | { readonly kind: "trace"; readonly traceId: string; readonly spanId: string }
  | { readonly kind: "hedge"; readonly attempt: number; readonly afterMs: number; readonly won: boolean }
  | { readonly kind: "breaker"; readonly from: string; readonly to: string; readonly why: string }
  | { readonly kind: "ejected"; readonly endpoint: string; readonly why: string }
  | { readonly kind: "split"; readonly host: string }
  /** A stage left the call, or a part of it, as it was. */
  | { readonly kind: "skipped"; readonly stage: string; readonly why: string }
  | { readonly kind: "fallback"; readonly why: string; readonly ageMs: number }
  | { readonly kind: "fault"; readonly fault: string }
  | {
      readonly kind: "mirror";
      readonly host: string;
      readonly status: number;
      readonly primaryStatus: number;
      readonly sameShape: boolean;
      readonly latencyMs: number;
      readonly primaryLatencyMs: number;
    }
  | { readonly kind: "tunnel"; readonly bytesUp: number; readonly bytesDown: number }
  /** `grpc-status` of the response, from its head or its trailers. */
  | { readonly kind: "grpc"; readonly status: number };

/** One try at the upstream. Filled in while it runs; times are `Clock.now()` milliseconds, 0 for a step that did not happen. */
export interface AttemptFacts {
  /** 1 for the first. */
  readonly number: number;
  readonly startedMs: number;
  /** Whether the connection had served another request before. */
  reused: boolean;
  /** A reused connection was dead and the request was sent once more on a fresh one, at no cost to the retry budget. */
  replayed: boolean;
  resolvedMs: number;
  connectedMs: number;
  securedMs: number;
  firstByteMs: number;
  /** The peer's address as dialled, or "". */
  address: string;
  /** 0 while there is none. */
  status: number;
  error: EgressError | null;
}

/** The facts of a try that begins at `startedMs` and has come to nothing yet. */
export function newAttempt(number: number, startedMs: number): AttemptFacts {
  return {
    number,
    startedMs,
    reused: false,
    replayed: false,
    resolvedMs: 0,
    connectedMs: 0,
    securedMs: 0,
    firstByteMs: 0,
    address: "",
    status: 0,
    error: null,
  };
}

/** How a call ended. `error` is null when every byte of a response passed, whatever its status. */
export interface Outcome {
  readonly error: EgressError | null;
}

/** What whoever begins a call must give; everything else has a default. */
export interface RequestParts {
  /** Names the call in its log line and in a refusal's body; unique in this process. */
  readonly id?: string;
  /** Name of the destination that the listener stands for; "" or left out: found by host and port. */
  readonly destination?: string;
  readonly method: string;
  readonly scheme: Scheme;
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly fields: FieldLines;
  readonly body?: Body;
  readonly expectContinue?: boolean;
  readonly upgrade?: string;
  readonly teTrailers?: boolean;
  readonly hasLength?: boolean;
  readonly httpVersion?: HttpVersion;
  readonly startedMs?: number;
}

/** What a stage may change for the stages after it. */
export type RequestChanges = {
  -readonly [K in
    | "scheme"
    | "host"
    | "port"
    | "address"
    | "path"
    | "fields"
    | "body"
    | "deadlineMs"
    | "attempt"
    | "cancelled"]?: EgressRequest[K];
};

/** One outbound call on its way. Stages that change it hand a changed copy to `next` (`request.with`). */
export class EgressRequest {
  /** Names the call in its log line and in a refusal's body; unique in this process, "" for a call of the proxy's own. */
  readonly id: string;
  /** Name of the destination that the listener stands for; "": found by host and port. */
  readonly destination: string;
  readonly method: string;
  readonly scheme: Scheme;
  /** Lower case, no brackets: a name or the text of an IP address. */
  readonly host: string;
  readonly port: number;
  /** Where to dial instead of where the destination says, chosen by a stage (port 0: the call's own); `null`: as the destination says. */
  readonly address: { readonly host: string; readonly port: number } | null;
  /** The origin-form target exactly as it came, never decoded or normalised (signatures cover it); `host:port` for CONNECT. */
  readonly path: string;
  readonly fields: FieldLines;
  readonly body: Body;
  /** The client waits for a 100 before it sends the body (RFC 9110 §10.1.1). */
  readonly expectContinue: boolean;
  /** The protocol that the client offers to switch to, or "" (RFC 9110 §7.8). */
  readonly upgrade: string;
  /** The client takes trailers (RFC 9110 §10.1.4). */
  readonly teTrailers: boolean;
  /** The client stated a length, so that `Content-Length: 0` and none stay apart (a signature may cover it). */
  readonly hasLength: boolean;
  /** What the application speaks. */
  readonly httpVersion: HttpVersion;
  readonly startedMs: number;
  /** Absolute, in `Clock.now()` milliseconds; `Infinity` for none. No byte of the call leaves after it. */
  readonly deadlineMs: number;
  /** 1 for the first try. */
  readonly attempt: number;
  /** Fired with the reason when this call, or this attempt of it, must stop. */
  readonly cancelled: Latch<EgressError>;
  /** Fired once, after the last byte or the teardown of the whole call. Shared by all attempts. */
  readonly settled: Latch<Outcome>;
  /** Facts for telemetry, in order. Shared by all attempts. */
  readonly trail: TrailEntry[];
  /** Called for each interim (1xx) response except 101. */
  onInterim: ((status: number, fields: FieldLines) => void) | null;

  constructor(parts: RequestParts, from?: EgressRequest) {
    this.id = parts.id ?? "";
    this.destination = parts.destination ?? "";
    this.method = parts.method;
    this.scheme = parts.scheme;
    this.host = parts.host;
    this.port = parts.port;
    this.address = from === undefined ? null : from.address;
    this.path = parts.path;
    this.fields = parts.fields;
    this.body = parts.body ?? EMPTY_BODY;
    this.expectContinue = parts.expectContinue ?? false;
    this.upgrade = parts.upgrade ?? "";
    this.teTrailers = parts.teTrailers ?? false;
    this.hasLength = parts.hasLength ?? false;
    this.httpVersion = parts.httpVersion ?? 1;
    this.startedMs = parts.startedMs ?? 0;
    this.deadlineMs = from === undefined ? Number.POSITIVE_INFINITY : from.deadlineMs;
    this.attempt = from === undefined ? 1 : from.attempt;
    this.cancelled = from === undefined ? new Latch<EgressError>() : from.cancelled;
    this.settled = from === undefined ? new Latch<Outcome>() : from.settled;
    this.trail = from === undefined ? [] : from.trail;
    this.onInterim = from === undefined ? null : from.onInterim;
  }

  /** A copy with `changes`; the call's life (`settled`, `trail`) stays one. Field by field: `Object.assign` takes four times as long. */
  with(changes: RequestChanges): EgressRequest {
    const copy: { -readonly [K in keyof EgressRequest]: EgressRequest[K] } = new EgressRequest(this, this);
    if (changes.scheme !== undefined) copy.scheme = changes.scheme;
    if (changes.host !== undefined) copy.host = changes.host;
    if (changes.port !== undefined) copy.port = changes.port;
    if (changes.address !== undefined) copy.address = changes.address;
    if (changes.path !== undefined) copy.path = changes.path;
    if (changes.fields !== undefined) copy.fields = changes.fields;
    if (changes.body !== undefined) copy.body = changes.body;
    if (changes.deadlineMs !== undefined) copy.deadlineMs = changes.deadlineMs;
    if (changes.attempt !== undefined) copy.attempt = changes.attempt;
    if (changes.cancelled !== undefined) copy.cancelled = changes.cancelled;
    return copy;
  }
}

/** Two byte streams joined after CONNECT or 101: nothing is parsed any more. */
export interface Tunnel {
  readonly socket: Duplex;
  /** Bytes that the upstream sent right behind its 101; empty for CONNECT. */
  readonly head: Uint8Array;
  /** The protocol that the upstream chose with its 101 (RFC 9110 §7.8); "" for CONNECT. */
  readonly protocol: string;
}

/** What came back. Made by the upstream room, or by a stage that answers itself. */
export class EgressResponse {
  readonly status: number;
  /** The reason phrase as it came; may be "". */
  readonly reason: string;
  readonly fields: FieldLines;
  readonly body: Body;
  /** Set on 101 and on the answer to CONNECT. */
  readonly tunnel: Tunnel | null;

  constructor(status: number, reason: string, fields: FieldLines, body: Body, tunnel: Tunnel | null = null) {
    this.status = status;
    this.reason = reason;
    this.fields = fields;
    this.body = body;
    this.tunnel = tunnel;
  }

  /** A copy with other fields. */
  withFields(fields: FieldLines): EgressResponse {
    return new EgressResponse(this.status, this.reason, fields, this.body, this.tunnel);
  }
}

/** Sends one call. Resolves with the head of the response, the body still to come; rejects with an `EgressError`. */
export type Send = (request: EgressRequest) => Promise<EgressResponse>;

/** Wraps what comes after it. Composed once per route when the configuration is loaded, never per call. */
export type Policy = (next: Send) => Send;

/** First written is outermost: `compose([a, b], send)` is `a(b(send))`. */
export function compose(policies: readonly Policy[], send: Send): Send {
  return policies.reduceRight((next, policy) => policy(next), send);
}
