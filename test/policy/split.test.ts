import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import type { SplitTarget } from "../../src/config/types.ts";
import { split } from "../../src/policy/split.ts";
import { chooseSplit, traceKey } from "../../src/policy/split-choice.ts";
import { answer, call, ScriptedUpstream, seeded, trailOf } from "./calls.ts";

const target = (host: string, weight: number, sticky = "none", port = 0): SplitTarget => ({
  host,
  port,
  weight,
  sticky,
});

describe("the side of a call", () => {
  const targets = [target("canary", 5), target("blue", 20)];

  test.each<[number, string | null]>([
    [0, "canary"],
    [0.0499, "canary"],
    [0.05, "blue"],
    [0.2499, "blue"],
    [0.25, null],
    [0.9999, null],
  ])("at %d is %s", (point, host) => {
    expect(chooseSplit(targets, point)?.host ?? null).toBe(host);
  });

  test("is the target's for everybody at 100 percent", () => {
    expect(chooseSplit([target("green", 100)], 0.99999999)?.host).toBe("green");
  });

  test("stays the target's when its weight grows: nobody who is on the canary leaves it", () => {
    for (let point = 0; point < 1; point += 0.001) {
      const before = chooseSplit([target("canary", 5)], point);
      if (before !== null) expect(chooseSplit([target("canary", 10)], point)).not.toBe(null);
    }
  });
});

describe("the trace that a call belongs to", () => {
  const W3C = "0af7651916cd43dd8448eb211c80319c";
  const XRAY = "5759e988bd862e3fe1be46a994272793";
  const traceparent = `traceparent: 00-${W3C}-b7ad6b7169203331-01\r\n`;
  const xray = `X-Amzn-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1\r\n`;

  test.each([
    ["traceparent first", traceparent + xray, W3C],
    ["then X-Amzn-Trace-Id", xray, XRAY],
    ["also behind a traceparent that is none", `traceparent: nonsense\r\n${xray}`, XRAY],
    ["then the invocation's", "", "invocation"],
  ])("%s", (_, fields, key) => {
    expect(traceKey(fields, "invocation")).toBe(key);
  });
});

interface Scene {
  readonly random?: () => number;
  readonly sandbox?: number;
  readonly workTrace?: string;
}

function scene(targets: SplitTarget[], { random = () => 0, sandbox = 0, workTrace = "" }: Scene = {}) {
  const upstream = new ScriptedUpstream(new VirtualClock(), answer());
  const surroundings = { random, sandbox: () => sandbox, workTrace: () => workTrace };
  return { upstream, send: split(targets, surroundings)(upstream.send) };
}

describe("a call that is split off", () => {
  test("changes host, port and the place to dial, and nothing else", async () => {
    const { upstream, send } = scene([target("canary.example", 100, "none", 8443)]);
    const request = call({ path: "/x?y", fields: "A: b\r\n" });
    await send(request);
    const sent = upstream.requests[0]!;
    expect(sent).toMatchObject({ host: "canary.example", port: 8443, path: "/x?y", fields: "A: b\r\n" });
    expect(sent.address).toEqual({ host: "canary.example", port: 0 });
    expect(trailOf(request)).toEqual([{ kind: "split", host: "canary.example" }]);
  });

  test("keeps its own port where the target states none", async () => {
    const { upstream, send } = scene([target("canary.example", 100)]);
    await send(call({ port: 444 }));
    expect(upstream.requests[0]!.port).toBe(444);
  });

  test("is left alone where it is on no target's side", async () => {
    const { upstream, send } = scene([target("canary.example", 50)], { random: () => 0.5 });
    const request = call();
    await send(request);
    expect(upstream.requests[0]).toBe(request);
    expect(trailOf(request)).toEqual([]);
  });

  test("is no tunnel: that is the application's own business", async () => {
    const { upstream, send } = scene([target("canary.example", 100)]);
    await send(call({ method: "CONNECT" }));
    expect(upstream.requests[0]!.host).toBe("api.example");
  });

  test("is none whose signature covers the host, and the trail says so", async () => {
    const { upstream, send } = scene([target("canary.example", 100)]);
    const fields =
      "Authorization: AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host;x-amz-date, Signature=0\r\n";
    const request = call({ fields });
    await send(request);
    expect(upstream.requests[0]!.host).toBe("api.example");
    expect(trailOf(request)).toEqual([
      { kind: "skipped", stage: "split", why: "the signature covers the host" },
    ]);
  });
});

describe("what keeps a caller on its side", () => {
  const sidesOf = async (sticky: string, fields: readonly string[], changes: Scene = {}) => {
    const { upstream, send } = scene([target("canary", 50, sticky)], { random: seeded(7), ...changes });
    for (const line of fields) await send(call({ fields: line }));
    return upstream.requests.map(({ host }) => host === "canary");
  };
  const tenants = Array.from({ length: 200 }, (_, i) => `X-Tenant: t${i}\r\n`);

  test("a header: the same value is on the same side in every sandbox", async () => {
    const here = await sidesOf("header:x-tenant", tenants);
    const there = await sidesOf("header:x-tenant", tenants, { random: seeded(99) });
    expect(there).toEqual(here);
    expect(here.filter(Boolean).length).toBeGreaterThan(70);
    expect(here.filter(Boolean).length).toBeLessThan(130);
  });

  test("the trace: all calls of a trace are on one side", async () => {
    const traces = Array.from({ length: 50 }, (_, i) => {
      const id = `0af7651916cd43dd8448eb211c80${String(i).padStart(4, "0")}`;
      return `traceparent: 00-${id}-b7ad6b7169203331-01\r\n`;
    });
    const sides = await sidesOf("trace", [...traces, ...traces]);
    expect(sides.slice(50)).toEqual(sides.slice(0, 50));
    expect(new Set(sides).size).toBe(2);
  });

  test("the invocation's trace, for calls that bring none: a new side with a new invocation only", async () => {
    const sides: boolean[] = [];
    for (let i = 0; i < 40; i++) {
      const workTrace = `Root=1-5759e988-bd862e3fe1be46a9942700${10 + i};Sampled=1`;
      const [first, second] = await sidesOf("trace", ["", ""], { workTrace });
      expect(second).toBe(first);
      sides.push(first!);
    }
    expect(new Set(sides).size).toBe(2);
  });

  test.each([
    [0.2, true],
    [0.7, false],
  ])("the sandbox: one that has drawn %d has all its calls on the canary: %s", async (sandbox, canary) => {
    expect(await sidesOf("sandbox", tenants.slice(0, 20), { sandbox })).toEqual(Array(20).fill(canary));
  });

  test.each(["none", "trace", "header:x-tenant"])(
    "nothing, for %s without a key: chance keeps the weight",
    async (sticky) => {
      const sides = await sidesOf(sticky, Array(400).fill(""));
      expect(sides.filter(Boolean).length).toBeGreaterThan(160);
      expect(sides.filter(Boolean).length).toBeLessThan(240);
    },
  );
});
