import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import type { BalanceOptions } from "../../src/config/types.ts";
import {
  balancePlan,
  chooseEndpoint,
  type EndpointState,
  newEndpointState,
} from "../../src/policy/balance.ts";
import { seeded } from "./calls.ts";

interface Given {
  readonly algorithm?: BalanceOptions["algorithm"];
  /** Priority of each endpoint. */
  readonly priorities?: readonly number[];
  readonly weights?: readonly number[];
  readonly inFlight?: readonly number[];
  readonly latencyMs?: readonly number[];
  readonly ejected?: readonly number[];
}

/** Endpoints in the state that is given, two of one priority and weight unless it says otherwise. */
function endpoints({ algorithm = "least_request", ...given }: Given) {
  const priorities = given.priorities ?? [0, 0];
  const clock = new VirtualClock();
  const at = { nowMs: clock.now(), wallMs: clock.wall() };
  const states: EndpointState[] = priorities.map((_, i) => {
    const ejection = given.ejected?.includes(i) ? { since: at, forMs: 1000 } : null;
    const ms = given.latencyMs?.[i];
    return {
      ...newEndpointState(),
      inFlight: given.inFlight?.[i] ?? 0,
      latency: ms === undefined ? null : { ms, at },
      outlier: { failuresInARow: 0, ejection },
    };
  });
  const plan = balancePlan(
    priorities.map((priority, i) => ({ priority, weight: given.weights?.[i] ?? 1 })),
    algorithm,
  );
  const random = seeded(7);
  const choose = (tried: readonly number[] = []) => chooseEndpoint(plan, states, tried, clock, random);
  return { clock, states, choose };
}

/** How often each of `count` endpoints is chosen in `calls` calls that take no time. */
function shares(choose: () => number, count: number, calls = 4000): number[] {
  const chosen = new Array<number>(count).fill(0);
  for (let i = 0; i < calls; i++) chosen[choose()]! += 1;
  return chosen.map((times) => times / calls);
}

/** The endpoints that are ever chosen. */
function everChosen({ choose }: { choose: (tried?: readonly number[]) => number }, tried: number[] = []) {
  return [...new Set(Array.from({ length: 200 }, () => choose(tried)))].sort();
}

describe("the candidates are", () => {
  test.each<[string, Given, number[], number[]]>([
    ["all of the first priority", { priorities: [0, 0, 1] }, [], [0, 1]],
    ["of the lowest number, wherever it stands in the list", { priorities: [3, 1, 3, 1] }, [], [1, 3]],
    ["without those that are ejected", { priorities: [0, 0, 0], ejected: [1] }, [], [0, 2]],
    [
      "of the next priority when all before it are ejected",
      { priorities: [0, 0, 1], ejected: [0, 1] },
      [],
      [2],
    ],
    ["of the last, if need be", { priorities: [0, 1, 2], ejected: [0, 1] }, [], [2]],
    ["all of them when all are ejected", { priorities: [0, 0, 1], ejected: [0, 1, 2] }, [], [0, 1, 2]],
    ["without those that the call has tried", { priorities: [0, 0, 0] }, [1], [0, 2]],
    ["of the next priority when the call has tried all before it", { priorities: [0, 1, 1] }, [0], [1, 2]],
    ["of the first again when the call has tried them all", { priorities: [0, 1] }, [0, 1], [0]],
    ["rather one that was tried than one that is ejected", { ejected: [1] }, [0], [0]],
    ["what was not tried, when all are ejected", { ejected: [0, 1] }, [0], [1]],
    ["all again, when all are ejected and tried", { ejected: [0, 1] }, [0, 1], [0, 1]],
  ])("%s", (_, given, tried, expected) => {
    expect(everChosen(endpoints(given), tried)).toEqual(expected);
    expect(everChosen(endpoints({ ...given, algorithm: "round_robin" }), tried)).toEqual(expected);
  });

  test("those whose ejection is over", async () => {
    const some = endpoints({ ejected: [0] });
    await some.clock.advance(999);
    expect(everChosen(some)).toEqual([1]);
    await some.clock.advance(1);
    expect(everChosen(some)).toEqual([0, 1]);
  });
});

describe("least_request", () => {
  test("takes the one with fewer calls in flight", () => {
    expect(everChosen(endpoints({ inFlight: [3, 2] }))).toEqual([1]);
    expect(everChosen(endpoints({ inFlight: [1, 2] }))).toEqual([0]);
  });

  test("of many draws two, so that the most loaded of them never goes and no other is left out", () => {
    expect(everChosen(endpoints({ priorities: [0, 0, 0, 0], inFlight: [9, 1, 2, 3] }))).toEqual([1, 2, 3]);
  });

  test("divides calls that never overlap by weight", () => {
    const [light, heavy] = shares(endpoints({ weights: [1, 3] }).choose, 2);
    expect(light).toBeCloseTo(0.25, 1);
    expect(heavy).toBeCloseTo(0.75, 1);
  });

  test("takes calls in flight relative to the weight", () => {
    expect(everChosen(endpoints({ weights: [1, 4], inFlight: [1, 3] }))).toEqual([1]);
    expect(everChosen(endpoints({ weights: [1, 4], inFlight: [1, 5] }))).toEqual([0]);
  });
});

describe("ewma", () => {
  test.each<[string, Given, number[]]>([
    ["takes the one that answers faster", { latencyMs: [80, 20] }, [1]],
    ["unless its calls in flight make it slower", { latencyMs: [80, 20], inFlight: [0, 4] }, [0]],
    ["asks one that it knows nothing of first", { latencyMs: [1] }, [1]],
    ["but not twice before it has answered", { latencyMs: [80], inFlight: [0, 1] }, [0]],
    ["takes time relative to the weight", { latencyMs: [80, 50], weights: [2, 1] }, [0]],
  ])("%s", (_, given, expected) => {
    expect(everChosen(endpoints({ ...given, algorithm: "ewma" }))).toEqual(expected);
  });
});

describe("round_robin", () => {
  const inTurn = (given: Given) => endpoints({ ...given, algorithm: "round_robin" });

  test("goes round, from wherever it begins", () => {
    const { choose } = inTurn({ priorities: [0, 0, 0] });
    const first = [choose(), choose(), choose()];
    expect([...first].sort()).toEqual([0, 1, 2]);
    expect([choose(), choose(), choose()]).toEqual(first);
  });

  test("gives each endpoint its weight in every round, and does not bunch", () => {
    const { choose } = inTurn({ weights: [5, 1] });
    const round = Array.from({ length: 12 }, () => choose());
    expect(round.filter((at) => at === 1)).toHaveLength(2);
    expect(round.lastIndexOf(1) - round.indexOf(1)).toBe(6);
  });

  test("begins elsewhere in another sandbox", () => {
    const plan = balancePlan(Array(4).fill({ priority: 0, weight: 1 }), "round_robin");
    const random = seeded(1);
    const firsts = Array.from({ length: 100 }, () => {
      const states = Array.from({ length: 4 }, newEndpointState);
      return chooseEndpoint(plan, states, [], new VirtualClock(), random);
    });
    expect([...new Set(firsts)].sort()).toEqual([0, 1, 2, 3]);
  });
});

test("the state of an endpoint survives being written down and read", () => {
  const { states, choose } = endpoints({ algorithm: "round_robin", latencyMs: [5, 6], ejected: [1] });
  choose();
  expect(JSON.parse(JSON.stringify(states))).toEqual(states);
});
