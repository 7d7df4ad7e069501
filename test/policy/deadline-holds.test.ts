/**
 * Retries never outlive the invocation: random policies, answers and failures in virtual time, from a fixed seed. Nothing is sent at or
 * after a call's deadline, and no call is pending behind it.
 */
import { expect, test } from "vitest";
import { type Clock, VirtualClock } from "../../src/clock.ts";
import type { RoutePolicy } from "../../src/config/types.ts";
import { compose } from "../../src/exchange.ts";
import { fieldValue } from "../../src/http1/fields.ts";
import { Lifecycle } from "../../src/lifecycle.ts";
import { policyChain } from "../../src/policy/chain.ts";
import type { RandomSource } from "../../src/policy/random.ts";
import {
  answer,
  call,
  failure,
  ONE_BUCKET,
  retryOptions,
  routePolicy,
  ScriptedUpstream,
  type Step,
  seeded,
  settle,
  watch,
} from "./calls.ts";

const SEED = 4_104_140;

/** Dice of one seed. */
class Dice {
  readonly random: () => number;

  constructor(seed: number) {
    this.random = seeded(seed);
  }

  below(n: number): number {
    return Math.floor(this.random() * n);
  }

  pick<T>(...values: readonly T[]): T {
    return values[this.below(values.length)]!;
  }

  maybe<T>(part: number, value: () => T): T | null {
    return this.random() < part ? value() : null;
  }

  get source(): RandomSource {
    const digits = (count: number) =>
      Array.from({ length: count }, () => this.below(16).toString(16)).join("");
    return { fraction: this.random, spanId: () => digits(16), traceId: () => digits(32) };
  }
}

/** The stages that send more than once, wait, or tell the time. */
function randomPolicy(dice: Dice): RoutePolicy {
  return routePolicy({
    timeoutMs: dice.pick(0, 1, 1 + dice.below(400), 1 + dice.below(4000)),
    perTryTimeoutMs: dice.pick(0, 0, 1 + dice.below(1000)),
    deadlineReserveMs: dice.pick(0, 100, dice.below(500)),
    deadlineHeaders: [{ name: "x-caller-ms", format: "milliseconds" }],
    deadlinePropagateHeader: "x-remaining-ms",
    retry: retryOptions({
      maxRetries: dice.pick(0, 1, 3, 10),
      on: ["connect_failure", "reset_before_response", "refused_stream", "per_try_timeout"],
      grpcStatuses: [14],
      backoffBaseMs: dice.pick(0, 1, dice.below(300)),
      backoffMaxMs: 1 + dice.below(3000),
      budgetRatio: 1,
      budgetFloor: dice.pick(0, 10),
    }),
    hedge: dice.maybe(0.5, () => ({
      delayMs: 1 + dice.below(300),
      percentile: 0,
      maxHedges: 1 + dice.below(3),
      methods: ["GET"],
      budgetRatio: 1,
    })),
  });
}

/** Another call's share of what is limited, so that this one may have to wait. */
function randomLimits(dice: Dice): Partial<RoutePolicy> {
  return {
    rateLimit: dice.maybe(0.3, () => ({
      perSecond: dice.pick(1, 5, 50),
      burst: dice.pick(1, 2),
      overflow: "wait" as const,
      ...ONE_BUCKET,
    })),
    concurrency: dice.maybe(0.3, () => ({ max: 1, queueMax: 5 })),
  };
}

function randomFields(dice: Dice, clock: Clock): string {
  const epoch = Math.floor(clock.wall() / 1000) + dice.below(5);
  return dice.pick(
    "",
    `Retry-After: ${dice.pick(0, 1, 2, 3, 3600)}\r\n`,
    `retry-after-ms: ${dice.below(3000)}\r\n`,
    `RateLimit: "q";r=0;t=${dice.below(4)}\r\n`,
    `X-RateLimit-Reset: ${dice.pick(dice.below(4), epoch)}\r\n`,
    `X-RateLimit-Remaining: 0\r\nx-ratelimit-reset-after: ${dice.below(30) / 10}\r\n`,
    `grpc-status: 14\r\ngrpc-retry-pushback-ms: ${dice.pick("-1", "0", `${dice.below(2000)}`)}\r\n`,
  );
}

function randomStep(dice: Dice, clock: Clock): Step {
  if (dice.random() < 0.1) return "silence";
  const outcome =
    dice.random() < 0.6
      ? answer(dice.pick(200, 429, 503, 503), randomFields(dice, clock))
      : failure(
          dice.pick(
            "CONNECT_FAILED",
            "UPSTREAM_RESET",
            "STREAM_REFUSED",
            "PER_TRY_TIMEOUT",
            "UPSTREAM_INVALID",
          ),
        );
  return dice.random() < 0.3 ? outcome : { afterMs: dice.below(600), outcome };
}

/** One call in a world of its own. Returns what happened, so that the test can show that something did. */
async function play(seed: number): Promise<{ sends: number; late: boolean; waited: boolean }> {
  const dice = new Dice(seed);
  const clock = new VirtualClock(dice.pick(0, 1000.25, 5e6));
  const startedMs = clock.now();
  const lifecycle = new Lifecycle(clock);
  const policy = { ...randomPolicy(dice), ...randomLimits(dice) };
  const upstream = new ScriptedUpstream(clock, ...Array.from({ length: 8 }, () => randomStep(dice, clock)));
  const send = compose(policyChain(policy, { clock, lifecycle, random: dice.source }), upstream.send);

  const workMs = 1 + dice.below(5000);
  lifecycle.workStarted("invocation", clock.wall() + workMs, "");
  const callerMs = dice.pick(0, 1 + dice.below(3000));
  const context = `seed ${seed}: ${JSON.stringify(policy)}, invocation ${workMs} ms, caller ${callerMs} ms`;

  // Computed here on its own: the smallest of policy, caller and invocation less the reserve.
  const boundsMs = [policy.timeoutMs, callerMs].filter((ms) => ms > 0);
  const deadlineMs = startedMs + Math.min(workMs - policy.deadlineReserveMs, ...boundsMs);

  const other = call();
  watch(send(other));
  const othersSends = upstream.requests.length;
  clock.after(dice.below(2000), () => settle(other));
  const request = call({ fields: callerMs > 0 ? `x-caller-ms: ${callerMs}\r\n` : "" });
  const sent = watch(send(request));
  await clock.advance(Math.max(0, deadlineMs - startedMs));
  expect(sent.pending, `${context}: pending behind its deadline`).toBe(false);
  await clock.advance(20_000);

  const mine = upstream.requests.flatMap((one, at) => (one.settled === request.settled ? [at] : []));
  for (const at of mine) {
    expect(upstream.startedMs[at], context).toBeLessThan(deadlineMs);
    const saidMs = Number(fieldValue(upstream.requests[at]!.fields, "x-remaining-ms"));
    const leftMs = deadlineMs - upstream.startedMs[at]!;
    expect(saidMs, context).toBeGreaterThanOrEqual(1);
    expect(saidMs, context).toBeLessThanOrEqual(Math.max(1, leftMs + 1e-3));
  }
  // Nobody waits for an attempt that could not begin before the deadline.
  const retries = request.trail.filter(({ kind }) => kind === "retry").length;
  expect(mine.length, `${context}: slept into its deadline`).toBeGreaterThanOrEqual(
    Math.min(1, retries) + retries,
  );
  return {
    sends: mine.length,
    late: sent.error?.code === "DEADLINE_EXCEEDED",
    waited: othersSends > 0 && request.trail.some(({ kind }) => kind === "queued" || kind === "retry"),
  };
}

test("S20: in 10 000 random policies and failures no attempt leaves at or after the deadline and no call outlives it", async () => {
  const seen = { repeated: 0, late: 0, waited: 0 };
  for (let round = 0; round < 10_000; round++) {
    const { sends, late, waited } = await play(SEED + round);
    if (sends > 1) seen.repeated += 1;
    if (late) seen.late += 1;
    if (waited) seen.waited += 1;
  }
  // Otherwise the loop above showed nothing.
  expect(seen.repeated).toBeGreaterThan(2000);
  expect(seen.late).toBeGreaterThan(1000);
  expect(seen.waited).toBeGreaterThan(1000);
}, 120_000);

/** Time that runs on while timers stand still, as in a sandbox that is frozen. */
class FreezingClock implements Clock {
  readonly #inner: VirtualClock;
  frozenMs = 0;

  constructor(inner: VirtualClock) {
    this.#inner = inner;
  }

  now(): number {
    return this.#inner.now() + this.frozenMs;
  }

  wall(): number {
    return this.#inner.wall() + this.frozenMs;
  }

  after(ms: number, fire: () => void) {
    return this.#inner.after(ms, fire);
  }
}

test("S20: a retry or a hedge whose timer fires after a freeze, behind the deadline, is not sent", async () => {
  let thawedLate = 0;
  for (let round = 0; round < 2000; round++) {
    const seed = SEED + round;
    const dice = new Dice(seed);
    const inner = new VirtualClock();
    const clock = new FreezingClock(inner);
    const upstream = new ScriptedUpstream(clock, ...Array.from({ length: 8 }, () => randomStep(dice, clock)));
    const parts = { clock, lifecycle: new Lifecycle(clock), random: dice.source };
    const send = compose(policyChain({ ...randomPolicy(dice), timeoutMs: 2000 }, parts), upstream.send);
    const sent = watch(send(call()));
    await inner.advance(dice.below(1500));
    if (sent.pending) thawedLate += 1;
    clock.frozenMs = dice.pick(2000, 900_000);
    await inner.advance(20_000);
    expect(sent.pending, `seed ${seed}`).toBe(false);
    for (const startedMs of upstream.startedMs) expect(startedMs, `seed ${seed}`).toBeLessThan(2000);
  }
  expect(thawedLate).toBeGreaterThan(500);
}, 60_000);
