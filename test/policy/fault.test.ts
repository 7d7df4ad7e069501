import { describe, expect, test } from "vitest";
import { Body } from "../../src/body.ts";
import { VirtualClock } from "../../src/clock.ts";
import type { FaultOptions } from "../../src/config/types.ts";
import { type EgressRequest, EgressResponse } from "../../src/exchange.ts";
import { fault } from "../../src/policy/fault.ts";
import { faultsAllowed } from "../../src/policy/fault-permission.ts";
import { fileExists, LOOK_MS_MAX } from "../../src/policy/fault-switch.ts";
import { Source } from "./bodies.ts";
import { answer, call, failure, ScriptedUpstream, type Step, trailOf, watch } from "./calls.ts";

const DAY_MS = 86_400_000;

/** A clock whose two hands move apart, as across a freeze or when somebody sets the time. */
class TwoClocks extends VirtualClock {
  wallSkewMs = 0;

  override wall(): number {
    return super.wall() + this.wallSkewMs;
  }
}

/** The stage in front of an upstream, with every call drawn and an expiry a day ahead. */
function stage(changes: Partial<FaultOptions>, ...steps: Step[]) {
  const clock = new TwoClocks();
  const upstream = new ScriptedUpstream(clock, ...(steps.length > 0 ? steps : [answer()]));
  const state = {
    drawn: 0.5,
    sequence: 1,
    exists: async (_path: string): Promise<boolean> => false,
    looks: 0,
  };
  const options: FaultOptions = {
    percent: 100,
    delayMs: 0,
    abortStatus: 0,
    reset: false,
    tlsFailure: false,
    bodyBytesPerSecond: 0,
    truncateAfterBytes: -1,
    expiresWallMs: clock.wall() + DAY_MS,
    killSwitchFile: "",
    ...changes,
  };
  const policy = fault(options, clock, {
    random: () => state.drawn,
    workSequence: () => state.sequence,
    fileExists: (path) => {
      state.looks += 1;
      return state.exists(path);
    },
  });
  return { clock, upstream, state, send: policy(upstream.send) };
}

const faultsOf = (request: EgressRequest): string[] =>
  trailOf(request).flatMap((entry) => (entry.kind === "fault" ? [entry.fault] : []));

describe("S22: faults need the policy and the environment", () => {
  test.each<[string, Record<string, string>, boolean]>([
    ["no word of it", {}, false],
    ["OUTRIDER_FAULTS=on", { OUTRIDER_FAULTS: "on" }, true],
    ["OUTRIDER_FAULTS=true, which is not the word", { OUTRIDER_FAULTS: "true" }, false],
    ["OUTRIDER_FAULTS=off", { OUTRIDER_FAULTS: "off" }, false],
    ["an empty OUTRIDER_FAULTS", { OUTRIDER_FAULTS: "" }, false],
    ["on in OUTRIDER_ENV=production", { OUTRIDER_FAULTS: "on", OUTRIDER_ENV: "production" }, false],
    ["on in OUTRIDER_ENV=Prod", { OUTRIDER_FAULTS: "on", OUTRIDER_ENV: "Prod" }, false],
    ["on in NODE_ENV=production", { OUTRIDER_FAULTS: "on", NODE_ENV: "production" }, false],
    ["on in NODE_ENV=' production '", { OUTRIDER_FAULTS: "on", NODE_ENV: " production " }, false],
    ["on in NODE_ENV=test", { OUTRIDER_FAULTS: "on", NODE_ENV: "test" }, true],
    ["on in preproduction", { OUTRIDER_FAULTS: "on", OUTRIDER_ENV: "preproduction" }, true],
    [
      "on where OUTRIDER_ENV overrules NODE_ENV",
      { OUTRIDER_FAULTS: "on", OUTRIDER_ENV: "staging", NODE_ENV: "production" },
      true,
    ],
    [
      "on where OUTRIDER_ENV is production and NODE_ENV is not",
      { OUTRIDER_FAULTS: "on", OUTRIDER_ENV: "production", NODE_ENV: "development" },
      false,
    ],
    [
      "on where OUTRIDER_ENV is empty: NODE_ENV decides",
      { OUTRIDER_FAULTS: "on", OUTRIDER_ENV: "", NODE_ENV: "production" },
      false,
    ],
  ])("S22: %s", (_, env, allowed) => {
    expect(faultsAllowed(env)).toBe(allowed);
  });
});

describe("which calls are drawn", () => {
  test.each<[number, number, boolean]>([
    [0, 0, false],
    [5, 0.0499, true],
    [5, 0.05, false],
    [0.5, 0.0049, true],
    [0.5, 0.0051, false],
    [100, 0.9999, true],
  ])("of %d percent, the draw %d", async (percent, drawn, faulty) => {
    const { send, state } = stage({ percent, reset: true });
    state.drawn = drawn;
    const request = call();
    const outcome = await send(request).catch((error) => error.code);
    expect(outcome === "FAULT_INJECTED").toBe(faulty);
    expect(faultsOf(request)).toEqual(faulty ? ["reset"] : []);
  });

  test("one that is not drawn passes as it is, and so does its response", async () => {
    const response = answer(200, "", new Source().body);
    const { send, state, upstream, clock } = stage(
      { percent: 50, delayMs: 100, bodyBytesPerSecond: 1, truncateAfterBytes: 0 },
      response,
    );
    state.drawn = 0.5;
    const request = call();
    expect(await send(request)).toBe(response);
    expect(upstream.requests[0]).toBe(request);
    expect(clock.untilNext()).toBeNull();
  });

  test("each attempt is drawn anew", async () => {
    const { send, state } = stage({ percent: 50, reset: true });
    state.drawn = 0.1;
    await expect(send(call())).rejects.toMatchObject({ code: "FAULT_INJECTED" });
    state.drawn = 0.9;
    expect((await send(call())).status).toBe(200);
  });
});

describe("what happens to an attempt", () => {
  test.each<[string, Partial<FaultOptions>, object]>([
    ["a reset breaks it off unsent", { reset: true }, { code: "FAULT_INJECTED", reached: "unsent" }],
    ["a TLS failure is the upstream room's", { tlsFailure: true }, { code: "TLS_FAILED", reached: "unsent" }],
    ["TLS fails before a reset could", { tlsFailure: true, reset: true }, { code: "TLS_FAILED" }],
    ["a reset comes before an answer", { reset: true, abortStatus: 503 }, { code: "FAULT_INJECTED" }],
  ])("%s", async (_, changes, error) => {
    const { send, upstream } = stage(changes);
    await expect(send(call())).rejects.toMatchObject(error);
    expect(upstream.requests).toEqual([]);
  });

  test("an abort is answered with its status and says that it is on purpose", async () => {
    const { send, upstream } = stage({ abortStatus: 429 });
    const request = call({ id: "c-7" });
    const response = await send(request);
    expect([response.status, response.body.whole]).toEqual([
      429,
      "outrider: fault: The policy makes this call fail on purpose. [FAULT_INJECTED c-7]\n",
    ]);
    expect(response.fields).toContain("Outrider-Error: FAULT_INJECTED\r\n");
    expect(upstream.requests).toEqual([]);
    expect(faultsOf(request)).toEqual(["abort"]);
  });

  test("a delay comes first, and then the call goes on", async () => {
    const { send, upstream, clock } = stage({ delayMs: 300 });
    const request = call();
    const sent = watch(send(request));
    await clock.advance(299);
    expect(upstream.requests).toEqual([]);
    await clock.advance(1);
    expect(sent.value?.status).toBe(200);
    expect(upstream.startedMs).toEqual([300]);
    expect(faultsOf(request)).toEqual(["delay"]);
  });

  test("a delay before an abort delays the abort", async () => {
    const { send, clock } = stage({ delayMs: 300, abortStatus: 503 });
    const request = call();
    const sent = watch(send(request));
    await clock.advance(299);
    expect(sent.pending).toBe(true);
    await clock.advance(1);
    expect(sent.value?.status).toBe(503);
    expect(faultsOf(request)).toEqual(["delay", "abort"]);
  });

  test("a delayed call that is cancelled ends at once, and nothing is sent or waits", async () => {
    const { send, upstream, clock } = stage({ delayMs: 300 });
    const request = call();
    const sent = watch(send(request));
    await clock.advance(100);
    const reason = failure("CLIENT_GONE");
    request.cancelled.fire(reason);
    await clock.advance(0);
    expect(sent.error).toBe(reason);
    expect(clock.untilNext()).toBeNull();
    await clock.advance(1000);
    expect(upstream.requests).toEqual([]);
  });

  test("a call that was cancelled before its delay is not delayed", async () => {
    const { send, clock } = stage({ delayMs: 300 });
    const request = call();
    const reason = failure("CLIENT_GONE");
    request.cancelled.fire(reason);
    await expect(send(request)).rejects.toBe(reason);
    expect(clock.untilNext()).toBeNull();
  });

  test.each([299, 300])("a delay of 300 ms sends nothing past a deadline in %d ms", async (leftMs) => {
    const { send, upstream, clock } = stage({ delayMs: 300 });
    const sent = watch(send(call().with({ deadlineMs: leftMs })));
    await clock.advance(300);
    expect(sent.error?.code).toBe("DEADLINE_EXCEEDED");
    expect(upstream.requests).toEqual([]);
  });

  test("an error of the upstream stays what it is", async () => {
    const refused = failure("CONNECT_FAILED");
    const { send } = stage({ bodyBytesPerSecond: 10 }, refused);
    await expect(send(call())).rejects.toBe(refused);
  });
});

describe("the expiry", () => {
  const sent = async ({ send }: ReturnType<typeof stage>) => (await send(call())).status;

  test("ends the faults at its millisecond", async () => {
    const one = stage({ abortStatus: 503 });
    await one.clock.advance(DAY_MS - 1);
    expect(await sent(one)).toBe(503);
    await one.clock.advance(1);
    expect(await sent(one)).toBe(200);
  });

  test("that has passed when the policy is loaded means none", async () => {
    expect(await sent(stage({ abortStatus: 503, expiresWallMs: 1_780_000_000_000 }))).toBe(200);
  });

  test("holds across a freeze in which the monotonic clock stood still", async () => {
    const one = stage({ abortStatus: 503 });
    one.clock.wallSkewMs = DAY_MS;
    expect(await sent(one)).toBe(200);
  });

  test("holds when the wall clock is set back meanwhile", async () => {
    const one = stage({ abortStatus: 503 });
    one.clock.wallSkewMs = -DAY_MS;
    await one.clock.advance(DAY_MS);
    expect(await sent(one)).toBe(200);
  });

  test("is final: a wall clock that is set back brings no fault back", async () => {
    const one = stage({ abortStatus: 503 });
    one.clock.wallSkewMs = DAY_MS;
    expect(await sent(one)).toBe(200);
    one.clock.wallSkewMs = 0;
    expect(await sent(one)).toBe(200);
  });
});

describe("the kill switch", () => {
  const switched = () => stage({ abortStatus: 503, killSwitchFile: "/tmp/no-faults" });

  test("without a file nothing is looked at", async () => {
    const { send, state } = stage({ abortStatus: 503 });
    await send(call());
    expect(state.looks).toBe(0);
  });

  test("is not looked at for a call that is not drawn", async () => {
    const { send, state } = stage({ abortStatus: 503, killSwitchFile: "/tmp/no-faults", percent: 1 });
    await send(call());
    expect(state.looks).toBe(0);
  });

  test("while the file exists there are no faults, and again when it is gone", async () => {
    const { send, state, clock } = switched();
    expect((await send(call())).status).toBe(503);
    state.exists = async () => true;
    await clock.advance(1000);
    expect((await send(call())).status).toBe(200);
    state.exists = async () => false;
    await clock.advance(1000);
    expect((await send(call())).status).toBe(503);
  });

  test("is looked at once a second, whatever the number of calls", async () => {
    const { send, state, clock } = switched();
    await Promise.all([send(call()), send(call()), send(call())]);
    await clock.advance(999);
    await send(call());
    expect(state.looks).toBe(1);
    await clock.advance(1);
    await send(call());
    expect(state.looks).toBe(2);
  });

  test("is looked at again as soon as another invocation runs", async () => {
    const { send, state } = switched();
    await send(call());
    state.sequence = 2;
    state.exists = async () => true;
    expect((await send(call())).status).toBe(200);
    expect(state.looks).toBe(2);
  });

  test.each([1000, -1])("is looked at again when the wall clock alone moved by %d ms", async (skewMs) => {
    const { send, state, clock } = switched();
    await send(call());
    clock.wallSkewMs = skewMs;
    await send(call());
    expect(state.looks).toBe(2);
  });

  test("that cannot be looked at means no faults", async () => {
    const { send, state } = switched();
    state.exists = async () => {
      throw new Error("EIO");
    };
    expect((await send(call())).status).toBe(200);
  });

  test("on a file system that hangs holds a call for no longer than its bound, and means no faults", async () => {
    const { send, state, clock } = switched();
    state.exists = () => new Promise<boolean>(() => {});
    const sent = watch(send(call()));
    await clock.advance(LOOK_MS_MAX - 1);
    expect(sent.pending).toBe(true);
    await clock.advance(1);
    expect(sent.value?.status).toBe(200);
  });

  test("leaves no timer behind", async () => {
    const { send, clock } = switched();
    await send(call());
    expect(clock.untilNext()).toBeNull();
  });

  test("asks the file system: no such file is no, whatever else is yes", async () => {
    expect(await fileExists("/no-such-folder/no-such-file")).toBe(false);
    expect(await fileExists(`${process.execPath}/below-a-file`)).toBe(false);
    expect(await fileExists(process.execPath)).toBe(true);
    expect(await fileExists(`/${"x".repeat(300)}`)).toBe(true);
  });
});

describe("bodies that are left alone", () => {
  const options = { bodyBytesPerSecond: 1, truncateAfterBytes: 0 };

  test.each<[string, Partial<Parameters<typeof call>[0]>, Body]>([
    ["an empty one", {}, Body.of("")],
    ["one that a HEAD only describes", { method: "HEAD" }, new Body(10, null)],
  ])("%s", async (_, parts, body) => {
    const response = answer(200, "", body);
    const { send } = stage(options, response);
    const request = call(parts);
    expect(await send(request)).toBe(response);
    expect(faultsOf(request)).toEqual([]);
  });

  test("what passes through a tunnel", async () => {
    const tunnel = { socket: null as never, head: new Uint8Array(0), protocol: "websocket" };
    const response = new EgressResponse(101, "", "", new Source().body, tunnel);
    const { send } = stage(options, response);
    expect(await send(call({ upgrade: "websocket" }))).toBe(response);
  });

  test("one that is no longer than what is let through", async () => {
    const response = answer(200, "", Body.of("12345"));
    const { send } = stage({ truncateAfterBytes: 5 }, response);
    expect(await send(call())).toBe(response);
  });
});

test("a body may be both slow and truncated", async () => {
  const faults = { bodyBytesPerSecond: 10, truncateAfterBytes: 2 };
  const { send } = stage(faults, answer(200, "", Body.of("abc")));
  const request = call();
  expect((await send(request)).body.length).toBe(3);
  expect(faultsOf(request)).toEqual(["slow_body", "truncated_body"]);
});
