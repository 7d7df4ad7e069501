/** The simulation of the bench `resilience`: its clock, its upstream, its figures and its picture. */

import { describe, expect, test } from "vitest";
import { type BrownOut, BrownOutUpstream, healthAt } from "../../bench/simulation/brown-out.ts";
import { type Seen, SPAN_MS } from "../../bench/simulation/clients.ts";
import { SimulationClock } from "../../bench/simulation/clock.ts";
import { drawSvg } from "../../bench/simulation/picture.ts";
import {
  figuresOf,
  recoverySeconds,
  type Scenario,
  simulate,
  successRatio,
} from "../../bench/simulation/run.ts";
import { EgressError } from "../../src/errors.ts";
import { call, retryOptions, routePolicy, watch } from "../policy/calls.ts";

describe("the clock", () => {
  test("fires timers in the order in which they are due, then armed, at their time", async () => {
    const clock = new SimulationClock();
    const fired: string[] = [];
    const arm = (ms: number, name: string) => clock.after(ms, () => fired.push(`${name} at ${clock.now()}`));
    for (const [ms, name] of [
      [30, "c"],
      [10, "a"],
      [20, "b"],
      [10, "a2"],
      [40, "d"],
    ] as const)
      arm(ms, name);
    await clock.runUntil(35);
    expect(fired).toEqual(["a at 10", "a2 at 10", "b at 20", "c at 30"]);
    expect([clock.now(), clock.wall() % 1000]).toEqual([35, 35]);
    await clock.runUntil(40);
    expect(fired.at(-1)).toBe("d at 40");
  });

  test("keeps a thousand timers in order", async () => {
    const clock = new SimulationClock();
    const due: number[] = [];
    for (let n = 0; n < 1000; n++) clock.after((n * 7919) % 997, () => due.push(clock.now()));
    await clock.runUntil(1000);
    expect(due).toEqual([...due].sort((a, b) => a - b));
    expect(due).toHaveLength(1000);
  });

  test("lets reactions run before the next timer, and forgets one that was cancelled", async () => {
    const clock = new SimulationClock();
    const seen: number[] = [];
    const timer = clock.after(2, () => seen.push(-1));
    clock.after(1, () => {
      timer.cancel();
      void Promise.resolve()
        .then(() => {})
        .then(() => clock.after(1, () => seen.push(clock.now())));
    });
    clock.after(5, () => seen.push(clock.now()));
    await clock.runUntil(10);
    expect(seen).toEqual([2, 5]);
  });
});

const brownOut: BrownOut = {
  workers: 1,
  queueMax: 1,
  rejectionMs: 4,
  networkMs: 1,
  healthy: { serviceMs: 40, errorRatio: 0 },
  sick: { serviceMs: 120, errorRatio: 0.3 },
  beginsMs: 30_000,
  endsMs: 60_000,
  warmUpMs: 10_000,
};

describe("the upstream", () => {
  test.each([
    [0, 40, 0],
    [29_999, 40, 0],
    [30_000, 120, 0.3],
    [59_999, 120, 0.3],
    [65_000, 80, 0.15],
    [70_000, 40, 0],
  ])("at %d ms takes %d ms and fails in %d of the cases", (nowMs, serviceMs, errorRatio) => {
    const health = healthAt(brownOut, nowMs);
    expect(health.serviceMs).toBeCloseTo(serviceMs);
    expect(health.errorRatio).toBeCloseTo(errorRatio);
  });

  test("works on one request, lets one wait and turns the third away, which costs the next its time", async () => {
    const clock = new SimulationClock();
    const upstream = new BrownOutUpstream(brownOut, clock, () => 0.5);
    const calls = [1, 2, 3].map(() => watch(upstream.send(call())));
    const statuses = () => calls.map(({ value }) => value?.status);
    await clock.runUntil(2);
    expect(statuses()).toEqual([undefined, undefined, 503]);
    await clock.runUntil(42);
    expect(statuses()).toEqual([200, undefined, 503]);
    await clock.runUntil(85.9);
    expect(statuses()[1]).toBeUndefined();
    await clock.runUntil(86);
    expect(statuses()[1]).toBe(200);
    expect(upstream.arrivedBySecond).toEqual([3]);
  });

  test("does not notice that a caller has given up: the work is done all the same", async () => {
    const clock = new SimulationClock();
    const upstream = new BrownOutUpstream(brownOut, clock, () => 0.5);
    const impatient = call();
    const gone = watch(upstream.send(impatient));
    const waiting = watch(upstream.send(call()));
    await clock.runUntil(5);
    const reason = new EgressError("CLIENT_GONE", "given up");
    impatient.cancelled.fire(reason);
    await clock.runUntil(81);
    expect([gone.error, waiting.pending]).toEqual([reason, true]);
    await clock.runUntil(82);
    expect(waiting.value?.status).toBe(200);
  });
});

describe("the figures", () => {
  const span = (succeeded: number, ended = 100): Seen => ({ ended, succeeded, begun: 0, attempts: 0 });
  const second = (succeeded: number) => Array.from({ length: 1000 / SPAN_MS }, () => span(succeeded));

  test.each<[string, Seen[], number]>([
    ["at once when no second is bad", [...second(100), ...second(99)], 0],
    ["where the last bad second has ended to matter", [...second(0), ...second(100), ...second(100)], 1],
    ["never, when the last second is bad", [...second(100), ...second(0)], 1.1],
  ])("recovered %s", (_, after, seconds) => {
    expect(recoverySeconds(after)).toBeCloseTo(seconds);
  });

  test("a span in which no call ends has not failed", () => {
    expect(successRatio([span(0, 0)])).toBe(1);
    expect(successRatio([span(1, 4)])).toBe(0.25);
  });
});

describe("a run", () => {
  const small = { ...brownOut, workers: 2, queueMax: 6, beginsMs: 5000, endsMs: 10_000, warmUpMs: 2000 };
  const scenario = (maxRetries: number, changes: Partial<Scenario> = {}): Scenario => ({
    policy: routePolicy({ retry: retryOptions({ maxRetries, budgetRatio: 1000, budgetFloor: 1000 }) }),
    clients: 20,
    proxies: "one",
    behaviour: { thinkMs: 500, patienceMs: 1000 },
    brownOut: small,
    seconds: 20,
    ...changes,
  });

  test("is the same for the same seed, and another for another", async () => {
    const [one, again, other] = await Promise.all([7, 7, 8].map((seed) => simulate(scenario(2), seed)));
    expect(again).toEqual(one);
    expect(other).not.toEqual(one);
  });

  test("sends once without retries, and more with them where calls fail", async () => {
    const once = figuresOf(await simulate(scenario(0), 7), small);
    const often = figuresOf(await simulate(scenario(3), 7), small);
    expect(once.amplification).toBe(1);
    expect(often.amplification).toBeGreaterThan(1.5);
    expect(once.brown_out_success_percent).toBeLessThan(100);
  });

  test("gives each client a proxy and each call an invocation where that is asked for", async () => {
    const options = { policy: routePolicy({ retry: retryOptions({ maxRetries: 1, budgetRatio: 0 }) }) };
    const shared = figuresOf(await simulate(scenario(1, options), 7), small);
    const alone = figuresOf(
      await simulate(scenario(1, { ...options, proxies: "one for each client" }), 7),
      small,
    );
    expect(alone.amplification).toBeGreaterThan(shared.amplification);
  });
});

describe("the picture", () => {
  const picture = {
    description: 'a "b" & c',
    seconds: 4,
    shaded: { from: 1, to: 2, label: "bad" },
    panels: [{ title: "x < y", top: 10, ticks: [0, 10], lines: [{ name: "one", values: [0, 5, 10, 20] }] }],
  };

  test("stands by itself: no script, nothing that is fetched, text escaped, both modes", () => {
    const svg = drawSvg(picture);
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" viewBox="[\d ]+" role="img"/);
    expect(svg).toContain("prefers-color-scheme:dark");
    expect(svg).toContain("a &#34;b&#34; &#38; c");
    expect(svg).toContain("x &#60; y");
    expect(svg).not.toMatch(/<script|href=|NaN|undefined/);
  });

  test("draws a value for each second, and what is above the edge at the edge", () => {
    const points = /polyline stroke="#\w+" points="([^"]+)"/.exec(drawSvg(picture))![1]!.split(" ");
    const heights = points.map((point) => Number(point.split(",")[1]));
    expect(heights).toHaveLength(4);
    expect(heights[0]! - heights[1]!).toBeCloseTo((heights[0]! - heights[2]!) / 2);
    expect(heights[3]).toBe(heights[2]);
  });
});
