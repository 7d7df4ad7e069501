/**
 * What telemetry counts about one call that is over: the sum of its trail, its bytes and its times.
 *
 * Made for every call, on the path of the data, so it is one flat object and one pass over the trail. Who called what is not in
 * here; that is the record's (`record.ts`), which is made only for calls whose line is kept.
 */
import { type EgressError, ERROR_CODES } from "../errors.ts";
import type { AttemptFacts, EgressRequest, EgressResponse, TrailEntry } from "../exchange.ts";
import { StageFacts } from "./stage-facts.ts";

/** The access rules' word on a call: "" when they had nothing against it. */
export type AclNote = "" | "would_deny" | "denied";

/** See the file's header. Durations are milliseconds; 0 also for a step that did not happen. */
export class CallFacts {
  /** What the application got: the upstream's status, the one of the proxy's own reply, or 0 for none. */
  status = 0;
  error: EgressError | null = null;
  /** `grpc-status` of the last attempt's response; `null` when it was no gRPC call, or did not come so far. */
  grpcStatus: number | null = null;
  /** Whether bytes passed unread: CONNECT, Upgrade, `protocol: tcp`. */
  tunnel = false;
  attempts = 0;
  /** Attempts after the first that the retry policy made. */
  retries = 0;
  /** Attempts that went out on a connection which had served before. */
  reusedAttempts = 0;
  /** TCP connections made. */
  connects = 0;
  /** TLS handshakes completed. */
  handshakes = 0;
  /** Whether a dead idle connection was replaced without the retry policy's help. */
  replayed = false;
  /** Whether the last attempt's connection had served before. */
  reused = false;
  /** The last address that was dialled, or "". */
  address = "";
  /** Body bytes towards the upstream; through a tunnel, all bytes. */
  bytesUp = 0;
  /** Body bytes towards the application; through a tunnel, all bytes. */
  bytesDown = 0;
  /** From the request's start to its last byte. */
  totalMs = 0;
  /** Waiting for a token or a slot. */
  queueMs = 0;
  /** All attempts together, as for the next two. */
  dnsMs = 0;
  connectMs = 0;
  tlsMs = 0;
  /** From the request's start to the first byte of the response that was passed on. */
  firstByteMs = 0;
  traceId = "";
  acl: AclNote = "";
  aclRule = "";
  /** What the stages of the policy did; `null` when nothing worth telling. */
  stages: StageFacts | null = null;

  /**
   * Whether the call failed for the application: an error of the path, a status of 4xx or 5xx (RFC 9110 §15.5, §15.6), or a
   * gRPC status other than 0 (OK), which comes under HTTP's 200.
   */
  get failed(): boolean {
    return this.error !== null || this.status >= 400 || (this.grpcStatus !== null && this.grpcStatus !== 0);
  }

  /**
   * Whether the call is worth a line when good ones are only sampled: failed, sent more than once, noted by the access rules, or
   * one that a stage did more to than to send it elsewhere.
   */
  get remarkable(): boolean {
    return this.failed || this.retries > 0 || this.acl !== "" || (this.stages?.remarkable ?? false);
  }
}

/**
 * The facts of a call that ended at `endedMs` (`Clock.now()` scale).
 *
 * @param request as it entered the chain; its trail is shared with all attempts
 * @param response what was passed to the application, or `null` when the chain rejected
 * @param error why the chain rejected or the exchange broke off, or `null`
 */
export function factsOf(
  request: EgressRequest,
  response: EgressResponse | null,
  error: EgressError | null,
  endedMs: number,
): CallFacts {
  const facts = new CallFacts();
  facts.error = error;
  if (response !== null) facts.status = response.status;
  else if (error !== null) facts.status = ERROR_CODES[error.code].status;
  facts.totalMs = span(request.startedMs, endedMs);
  if (response !== null) {
    const whole = response.body.whole;
    facts.bytesDown = whole !== null && error === null ? whole.length : response.body.passedBytes;
  }
  if (request.body.whole === null) facts.bytesUp = request.body.passedBytes;
  for (const entry of request.trail) addEntry(facts, request, entry);
  settleStages(facts, request, response);
  if (facts.acl === "" && (error?.code === "DENIED" || error?.code === "ADDRESS_DENIED"))
    facts.acl = "denied";
  return facts;
}

function addEntry(facts: CallFacts, request: EgressRequest, entry: TrailEntry): void {
  switch (entry.kind) {
    case "attempt":
      addAttempt(facts, request, entry.attempt);
      break;
    case "retry":
      facts.retries += 1;
      break;
    case "queued":
      facts.queueMs += entry.waitMs;
      break;
    case "trace":
      facts.traceId = entry.traceId;
      break;
    case "tunnel":
      facts.tunnel = true;
      facts.bytesUp = entry.bytesUp;
      facts.bytesDown = entry.bytesDown;
      break;
    case "grpc":
      facts.grpcStatus = entry.status;
      break;
    case "would_deny":
    case "denied":
      facts.acl = entry.kind;
      facts.aclRule = entry.rule;
      break;
    case "no_retry":
      break;
    default:
      facts.stages ??= new StageFacts();
      facts.stages.add(entry);
  }
}

/** What only the whole trail tells: which of several tries at once was the one that counts, and whether the upstream's word was passed on. */
function settleStages(facts: CallFacts, request: EgressRequest, response: EgressResponse | null): void {
  if (facts.stages === null || response === null) return;
  // The answer is not the upstream's, so neither its status nor its times are.
  if (facts.stages.served !== "") {
    facts.grpcStatus = null;
    facts.firstByteMs = 0;
  } else if (facts.stages.hedges > 0) takeAnsweredAttempt(facts, request, response);
}

/** Of tries at once the last one need not be the one whose answer was passed on. */
function takeAnsweredAttempt(facts: CallFacts, request: EgressRequest, { status }: EgressResponse): void {
  for (const entry of request.trail) {
    if (entry.kind !== "attempt") continue;
    const { attempt } = entry;
    if (attempt.status !== status || attempt.firstByteMs === 0) continue;
    facts.reused = attempt.reused;
    facts.address = attempt.address;
    facts.firstByteMs = span(request.startedMs, attempt.firstByteMs);
  }
}

function addAttempt(facts: CallFacts, request: EgressRequest, attempt: AttemptFacts): void {
  facts.attempts += 1;
  facts.grpcStatus = null;
  facts.reused = attempt.reused;
  facts.address = attempt.address;
  if (attempt.reused) facts.reusedAttempts += 1;
  if (attempt.replayed) facts.replayed = true;
  if (attempt.resolvedMs > 0) facts.dnsMs += span(attempt.startedMs, attempt.resolvedMs);
  if (attempt.connectedMs > 0) {
    facts.connects += 1;
    facts.connectMs += span(Math.max(attempt.startedMs, attempt.resolvedMs), attempt.connectedMs);
  }
  if (attempt.securedMs > 0) {
    facts.handshakes += 1;
    facts.tlsMs += span(attempt.connectedMs, attempt.securedMs);
  }
  facts.firstByteMs = attempt.firstByteMs > 0 ? span(request.startedMs, attempt.firstByteMs) : 0;
  // A whole body leaves with its head in one write and is not counted as it passes (see `Body.whole`).
  const whole = request.body.whole;
  if (whole !== null && attempt.error?.reached !== "unsent") facts.bytesUp = whole.length;
}

/** Never negative, whatever order the readings are in. */
function span(fromMs: number, toMs: number): number {
  return toMs > fromMs ? toMs - fromMs : 0;
}
