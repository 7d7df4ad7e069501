/**
 * Spares an upstream that fails, and the callers the wait for it: after too many failures attempts are refused at once for a while, then
 * a few may test whether it is well again.
 *
 * Owns the breakers of a route and what passes between them, the attempts and the store that sandboxes may share. The states are in
 * breaker-state.ts, what counts and what trips in breaker-rules.ts. Each `host:port` has a breaker of its own, since one destination may
 * stand for many hosts. A breaker needs no timer: an open one is looked at when the next attempt comes.
 */
import type { Body } from "../body.ts";
import type { Clock } from "../clock.ts";
import type { CircuitBreakerOptions } from "../config/types.ts";
import { asEgressError, EgressError } from "../errors.ts";
import type { EgressRequest, EgressResponse, Policy, Send, TrailEntry } from "../exchange.ts";
import { brokenByUpstream, judgeAttempt, type Verdict } from "./breaker-rules.ts";
import { follow, wordOf } from "./breaker-sharing.ts";
import {
  type Admission,
  admit,
  type Breaker,
  beginProbing,
  newBreaker,
  postpone,
  report,
  reportBroken,
  type Ticket,
  type Transition,
} from "./breaker-state.ts";
import type { BreakerStore, BreakerTransition } from "./breaker-store.ts";
import { newBreakerTime, passedMs } from "./breaker-time.ts";

/** Upstreams of one route that have a breaker at once. Overflow: the one that was met first is forgotten, closed ones before others. */
export const BREAKERS_MAX = 1000;

/** When a sandbox that was not elected to probe asks again: the elected one may have been frozen, or be gone. */
const ELECT_AGAIN_MS = 1000;

/** What this stage is given besides its options and the clock. */
export interface BreakerSurroundings {
  /** Names the route in the store's keys: the same in every sandbox, and of no other route. */
  readonly scope: string;
  /** `null`: each sandbox judges for itself. Asked only where the policy says `shared`. */
  readonly store: BreakerStore | null;
}

const ALONE: BreakerSurroundings = { scope: "", store: null };

/** The stage. */
export function circuitBreaker(
  options: CircuitBreakerOptions,
  clock: Clock,
  { scope, store }: BreakerSurroundings = ALONE,
): Policy {
  const time = newBreakerTime(clock);
  const parts: CircuitParts = {
    options,
    clock,
    store: options.shared ? store : null,
    timeMs: () => passedMs(time, clock),
  };
  const circuits = new Map<string, Circuit>();
  let last: Circuit | null = null;

  function circuitOf(request: EgressRequest): Circuit {
    const { host } = request.address ?? request;
    const port = request.address?.port || request.port;
    // Most routes have one upstream: the last one is kept, so that no key is put together per attempt.
    if (last !== null && last.port === port && last.host === host) return last;
    const key = `${host}:${port}`;
    last = circuits.get(key) ?? null;
    if (last === null) {
      if (circuits.size >= BREAKERS_MAX) forgetOne(circuits);
      last = new Circuit(host, port, `${scope}${key}`, parts);
      circuits.set(key, last);
    }
    return last;
  }

  return (next) => (request) => circuitOf(request).send(request, next);
}

function forgetOne(circuits: Map<string, Circuit>): void {
  for (const [key, circuit] of circuits) {
    if (circuit.idle) {
      circuits.delete(key);
      return;
    }
  }
  circuits.delete(circuits.keys().next().value!);
}

/** What all circuits of a stage have in common. */
interface CircuitParts {
  readonly options: CircuitBreakerOptions;
  readonly clock: Clock;
  readonly store: BreakerStore | null;
  /** By breaker time. */
  readonly timeMs: () => number;
}

/** One upstream and its breaker. */
class Circuit {
  readonly host: string;
  readonly port: number;
  readonly #key: string;
  readonly #parts: CircuitParts;
  readonly #breaker: Breaker;
  /** When this sandbox changed the breaker last, by wall time. */
  #changedWallMs = 0;
  #heard: BreakerTransition | null = null;
  #electing = false;

  constructor(host: string, port: number, key: string, parts: CircuitParts) {
    this.host = host;
    this.port = port;
    this.#key = key;
    this.#parts = parts;
    this.#breaker = newBreaker(parts.options);
  }

  /** Nothing is lost when it is forgotten. */
  get idle(): boolean {
    return this.#breaker.state.kind === "closed";
  }

  /** Lets an attempt go, or refuses it. */
  send(request: EgressRequest, next: Send): Promise<EgressResponse> {
    if (this.#parts.store !== null) this.#hear(request, this.#parts.store);
    const admission = this.#admit();
    if (admission.kind === "pass") return this.#attempt(request, next, admission.ticket);
    if (admission.kind === "refused" || this.#electing) return Promise.reject(this.#refusal(admission));
    return this.#probe(request, next);
  }

  #admit(): Admission {
    const { options, timeMs } = this.#parts;
    // Only an open one asks what time it is; reading both clocks costs more than all else on a good call's way in.
    return admit(this.#breaker, options, this.#breaker.state.kind === "open" ? timeMs() : 0);
  }

  /** The breaker may be probed: at once, or if this sandbox is the one that does. */
  async #probe(request: EgressRequest, next: Send): Promise<EgressResponse> {
    const { store } = this.#parts;
    if (store !== null) {
      await this.#elected(request, store);
      if (request.cancelled.value !== undefined) throw request.cancelled.value;
    } else this.#note(request, beginProbing(this.#breaker));
    const admission = this.#admit();
    if (admission.kind !== "pass") throw this.#refusal(admission);
    return this.#attempt(request, next, admission.ticket);
  }

  /** Resolves when the answer is here, or when the call stops waiting for it; the answer counts either way. */
  #elected(request: EgressRequest, store: BreakerStore): Promise<void> {
    this.#electing = true;
    return new Promise((resolve) => {
      const stop = () => resolve();
      request.cancelled.on(stop);
      store
        .elect(this.#key)
        .catch(() => true)
        .then((elected) => {
          this.#electing = false;
          if (elected) this.#note(request, beginProbing(this.#breaker));
          else postpone(this.#breaker, this.#parts.timeMs() + ELECT_AGAIN_MS);
          request.cancelled.off(stop);
          resolve();
        });
    });
  }

  #attempt(request: EgressRequest, next: Send, ticket: Ticket): Promise<EgressResponse> {
    const { options, clock } = this.#parts;
    const sinceMs = options.slowCallMs > 0 ? clock.now() : 0;
    return next(request).then(
      (response) => {
        const verdict = this.#judge(request, ticket, response, sinceMs);
        if (verdict === "success" && response.body.whole === null) this.#watch(request, response, ticket);
        return response;
      },
      (error: unknown) => {
        const failure = asEgressError(error);
        this.#judge(request, ticket, failure, sinceMs);
        throw failure;
      },
    );
  }

  #judge(
    request: EgressRequest,
    ticket: Ticket,
    outcome: EgressResponse | EgressError,
    sinceMs: number,
  ): Verdict {
    const { options, clock } = this.#parts;
    const verdict = judgeAttempt(options, outcome, request.cancelled.value);
    const slow =
      verdict !== "nothing" && options.slowCallMs > 0 && clock.now() - sinceMs > options.slowCallMs;
    this.#report(request, ticket, verdict, slow);
    return verdict;
  }

  #report(request: EgressRequest, ticket: Ticket, verdict: Verdict, slow: boolean): void {
    const { options, timeMs } = this.#parts;
    this.#note(request, report(this.#breaker, options, ticket, { verdict, slow }, timeMs()));
  }

  /** The head was good; whether the rest was is known when the call is over. */
  #watch(request: EgressRequest, { body }: EgressResponse, ticket: Ticket): void {
    const { options, timeMs } = this.#parts;
    request.settled.on(({ error }) => {
      // A body that was given up for another attempt has an end of its own, which is not the call's.
      if (breakOf(body) !== error) return;
      const failed = error === null ? grpcFailed(request, options) : brokenByUpstream(error);
      if (failed) this.#note(request, reportBroken(this.#breaker, options, ticket, timeMs()));
    });
  }

  #hear(request: EgressRequest, store: BreakerStore): void {
    const heard = store.load(this.#key);
    if (heard === this.#heard || heard === null) return;
    this.#heard = heard;
    if (heard.atWallMs <= this.#changedWallMs) return;
    // A word from the future, by whatever mistake, must not outrank all that follow.
    this.#changedWallMs = Math.min(heard.atWallMs, this.#parts.clock.wall());
    this.#note(request, follow(this.#breaker, heard, this.#moment()));
  }

  #moment() {
    const { clock, timeMs, options } = this.#parts;
    return { timeMs: timeMs(), wallMs: clock.wall(), openForMs: options.openForMs };
  }

  /** Writes a change of state into the trail of the call that brought it, and tells the others. */
  #note(request: EgressRequest, transition: Transition | null): void {
    if (transition === null) return;
    request.trail.push({ kind: "breaker", ...transition });
    const { store } = this.#parts;
    if (store === null) return;
    const word = wordOf(this.#key, transition, this.#moment());
    if (word === null) return;
    this.#changedWallMs = word.atWallMs;
    store.announce(word);
  }

  #refusal(admission: Admission): EgressError {
    const { state } = this.#breaker;
    const leftMs = admission.kind === "refused" ? admission.leftMs : 0;
    const error = new EgressError(
      "CIRCUIT_OPEN",
      `${this.host}:${this.port} is not called: ${saying(state.kind, leftMs)}`,
    );
    // Whole seconds (RFC 9110 §10.2.3), at least one; none where nobody can say.
    if (Number.isFinite(leftMs)) {
      error.replyFields = `Retry-After: ${Math.max(1, Math.ceil(leftMs / 1000))}\r\n`;
    }
    return error;
  }
}

/** Why `body` broke off; `null` when it did not, `undefined` when it is not over. */
function breakOf(body: Body): EgressError | null | undefined {
  let reason: EgressError | null | undefined;
  // Asked only of a body that is over, which answers at once: the one listener of an open one is another's.
  if (body.over) body.onEnded((error) => void (reason = error));
  return reason;
}

/** Whether the last attempt of the call, when it is this one, ended in a `grpc-status` that counts as a failure. */
function grpcFailed({ trail, attempt }: EgressRequest, { grpcStatuses }: CircuitBreakerOptions): boolean {
  if (grpcStatuses.length === 0) return false;
  for (const entry of trail.toReversed()) {
    if (entry.kind === "grpc") return grpcStatuses.includes(entry.status) && attempt === lastAttempt(trail);
  }
  return false;
}

function lastAttempt(trail: readonly TrailEntry[]): number {
  return trail.findLast((entry) => entry.kind === "attempt")?.attempt.number ?? 1;
}

function saying(kind: Breaker["state"]["kind"], leftMs: number): string {
  if (kind === "isolated") return "its breaker is held open by circuit_breaker.isolated";
  if (kind === "open" && leftMs > 0) return `its breaker is open for another ${Math.ceil(leftMs)} ms`;
  return "its breaker is being probed";
}
