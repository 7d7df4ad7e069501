/**
 * Makes calls fail on purpose, to see what becomes of them: slow, refused, broken off, or with a body that is slow or incomplete.
 *
 * Owns the faults and their order on the way of an attempt. When they end is `fault-switch.ts`, whether the environment allows
 * any `fault-permission.ts`; the composition leaves this stage out where it does not. It is the innermost stage, so retries,
 * breaker and fallback meet a fault as they would meet the upstream's. A call that is not drawn passes untouched.
 */
import { Body } from "../body.ts";
import type { Clock } from "../clock.ts";
import type { FaultOptions } from "../config/types.ts";
import { EgressError, ERROR_CODES } from "../errors.ts";
import { type EgressRequest, EgressResponse, type Policy, type Send } from "../exchange.ts";
import { slowBody, truncatedBody } from "./fault-body.ts";
import { FaultSwitch, type FileExists } from "./fault-switch.ts";

/** What this stage is given besides its options and the clock. */
export interface FaultSurroundings {
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Ordinal of the running invocation, 0 for none. */
  readonly workSequence: () => number;
  /** Looks for the kill switch's file; the file system unless given. */
  readonly fileExists?: FileExists;
}

/** The faults, as the trail names them, in the order in which an attempt meets them. The first of the middle three ends it. */
export type Fault = "delay" | "tls_failure" | "reset" | "abort" | "slow_body" | "truncated_body";

/** The stage. Each attempt is drawn anew, so that a retry may succeed. */
export function fault(options: FaultOptions, clock: Clock, surroundings: FaultSurroundings): Policy {
  const { random, workSequence, fileExists } = surroundings;
  const off = new FaultSwitch(options, clock, workSequence, fileExists);
  return (next) => (request) => {
    if (random() * 100 >= options.percent || off.expired) return next(request);
    const killed = off.killed();
    if (killed === true) return next(request);
    if (killed === false) return inject(options, clock, request, next);
    return killed.then((exists) => (exists ? next(request) : inject(options, clock, request, next)));
  };
}

async function inject(
  options: FaultOptions,
  clock: Clock,
  request: EgressRequest,
  next: Send,
): Promise<EgressResponse> {
  const note = (name: Fault) => void request.trail.push({ kind: "fault", fault: name });
  if (options.delayMs > 0) {
    note("delay");
    await pause(options.delayMs, clock, request);
  }
  if (options.tlsFailure) {
    note("tls_failure");
    throw new EgressError("TLS_FAILED", "tls failed: on purpose, by fault.tls_failure of the policy");
  }
  if (options.reset) {
    note("reset");
    throw new EgressError("FAULT_INJECTED", "broken off on purpose, by fault.reset of the policy");
  }
  if (options.abortStatus > 0) {
    note("abort");
    return abortAnswer(options.abortStatus, request.id);
  }
  const response = await next(request);
  const body = worseBody(options, clock, request, response, note);
  if (body === response.body) return response;
  return new EgressResponse(response.status, response.reason, response.fields, body, response.tunnel);
}

/** The answer in place of the upstream's. It says that it is one, so that nobody looks for the fault there. */
function abortAnswer(status: number, callId: string): EgressResponse {
  const { stage, meaning } = ERROR_CODES.FAULT_INJECTED;
  return new EgressResponse(
    status,
    "",
    "Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\nOutrider-Error: FAULT_INJECTED\r\n",
    Body.of(`outrider: ${stage}: ${meaning} [FAULT_INJECTED ${callId}]\n`),
  );
}

/** The body with what the options do to it; the body itself where there is none or nothing to do. */
function worseBody(
  { bodyBytesPerSecond, truncateAfterBytes }: FaultOptions,
  clock: Clock,
  { method }: EgressRequest,
  { body, tunnel }: EgressResponse,
  note: (name: Fault) => void,
): Body {
  if (tunnel !== null || method === "HEAD" || body.whole === "") return body;
  let worse = body;
  if (bodyBytesPerSecond > 0) {
    note("slow_body");
    worse = slowBody(worse, bodyBytesPerSecond, clock);
  }
  if (truncateAfterBytes >= 0 && (body.length === null || body.length > truncateAfterBytes)) {
    note("truncated_body");
    worse = truncatedBody(worse, truncateAfterBytes, clock);
  }
  return worse;
}

/** Resolves after `ms`; rejects as soon as the call, or this attempt of it, is cancelled, and when there is no time left then. */
function pause(ms: number, clock: Clock, { cancelled, deadlineMs }: EgressRequest): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (reason: EgressError) => {
      timer.cancel();
      reject(reason);
    };
    const timer = clock.after(ms, () => {
      cancelled.off(stop);
      if (clock.now() < deadlineMs) resolve();
      else reject(new EgressError("DEADLINE_EXCEEDED", `fault.delay (${ms} ms) took the rest of the time`));
    });
    cancelled.on(stop);
  });
}
