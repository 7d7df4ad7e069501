import { describe, expect, test } from "vitest";
import { Body } from "../../src/body.ts";
import { VirtualClock } from "../../src/clock.ts";
import type { MirrorOptions } from "../../src/config/types.ts";
import type { EgressRequest, RequestParts, Send } from "../../src/exchange.ts";
import { mirror } from "../../src/policy/mirror.ts";
import { answer, call, failure, ScriptedUpstream, type Step, settle, trailOf, watch } from "./calls.ts";

const OPTIONS: MirrorOptions = {
  host: "shadow",
  port: 0,
  percent: 100,
  bodyBytesMax: 1000,
  concurrencyMax: 4,
  keepCredentials: false,
};

const JSON_TYPE = "Content-Type: application/json\r\n";
const later = (afterMs: number, outcome: Exclude<Step, "silence">): Step => ({
  afterMs,
  outcome: "afterMs" in outcome ? outcome.outcome : outcome,
});
const json = (text: string, status = 200) => answer(status, JSON_TYPE, Body.of(text));

/** The stage before an upstream and a mirror, each with a script. */
function stage(primary: Step, shadow: Step, options: Partial<MirrorOptions> = {}) {
  const clock = new VirtualClock();
  const upstream = new ScriptedUpstream(clock, primary);
  const mirrored = new ScriptedUpstream(clock, shadow);
  const next: Send = (request) => (request.host === "shadow" ? mirrored : upstream).send(request);
  const policy = mirror({ ...OPTIONS, ...options }, clock, { random: () => 0.5, workTrace: () => "" });
  return { clock, upstream, mirrored, send: policy(next) };
}

/** A body that a test feeds, and what its source was told. */
function fedBody(length: number | null = null) {
  const told: string[] = [];
  const body = new Body(length, {
    pause: () => void told.push("pause"),
    resume: () => void told.push("resume"),
    cancel: () => void told.push("cancel"),
  });
  return { body, told };
}

/** What the application reads of a body. */
function read(body: Body): { text: string; ended: boolean; error: string } {
  const seen = { text: "", ended: false, error: "" };
  body.pipe({
    write: (chunk) => {
      seen.text += Buffer.from(chunk).toString("latin1");
      return true;
    },
    end: () => void (seen.ended = true),
    abort: (error) => void (seen.error = error.code),
  });
  return seen;
}

const entry = (request: EgressRequest) => trailOf(request).find(({ kind }) => kind === "mirror");

async function sendFor(
  ms: number,
  { clock, send }: ReturnType<typeof stage>,
  parts: Partial<RequestParts> = {},
) {
  const request = call(parts);
  const seen = watch(send(request));
  await clock.advance(ms);
  return { request, seen };
}

describe("a mirrored call", () => {
  test("is sent to both at the same time, to the upstream first, and answered by the upstream alone", async () => {
    const order: string[] = [];
    const clock = new VirtualClock();
    const policy = mirror(OPTIONS, clock, { random: () => 0, workTrace: () => "" });
    const request = call();
    const response = await policy(async ({ host }) => {
      order.push(host);
      return host === "shadow" ? answer(500) : answer(201);
    })(request);
    expect(response.status).toBe(201);
    expect(order).toEqual(["api.example", "shadow"]);
  });

  test("is compared: status, time to the head, shape", async () => {
    const scene = stage(later(30, json('{"a":1}')), later(20, json('{"a":"x"}', 404)));
    const { request, seen } = await sendFor(30, scene);
    expect(seen.value?.status).toBe(200);
    expect(entry(request)).toEqual({
      kind: "mirror",
      host: "shadow",
      status: 404,
      primaryStatus: 200,
      sameShape: false,
      latencyMs: 20,
      primaryLatencyMs: 30,
    });
  });

  test("has the same shape as an answer with other values", async () => {
    const scene = stage(later(5, json('{"a":[1,2]}')), json('{"a":[7]}'));
    const { request } = await sendFor(5, scene);
    expect(entry(request)).toMatchObject({ status: 200, sameShape: true });
  });

  test("is not waited for: the answer goes on as soon as it is there, and the mirror ends with the call", async () => {
    const scene = stage(later(10, json("{}")), "silence");
    const { request, seen } = await sendFor(10, scene);
    expect(seen.value?.status).toBe(200);
    const copy = scene.mirrored.requests[0]!;
    expect(copy.cancelled.value).toBeUndefined();
    settle(request);
    expect(copy.cancelled.value).toBeDefined();
    expect(copy.settled.value).toBeDefined();
    expect(scene.clock.untilNext()).toBeNull();
  });

  test("is compared as long as the call lasts, also behind its answer's head", async () => {
    const { body } = fedBody();
    const scene = stage(answer(200, JSON_TYPE, body), later(50, json('{"a":1}')));
    const { request, seen } = await sendFor(0, scene);
    const read1 = read(seen.value!.body);
    body.push(Buffer.from('{"a"'));
    await scene.clock.advance(50);
    expect(entry(request)).toMatchObject({ status: 0, primaryStatus: 0 });
    body.push(Buffer.from(":2}"));
    body.end();
    expect(read1).toEqual({ text: '{"a":2}', ended: true, error: "" });
    expect(entry(request)).toMatchObject({ status: 200, primaryStatus: 200, sameShape: true, latencyMs: 50 });
  });

  test("whose copy was not done in time is noted as that", async () => {
    const { request } = await sendFor(0, stage(json("{}"), "silence"));
    settle(request);
    expect(entry(request)).toMatchObject({ status: 0, primaryStatus: 0, sameShape: false });
  });

  test("whose copy fails is noted as that, and goes on as if nothing had happened", async () => {
    const scene = stage(later(10, json("{}")), later(4, failure("CONNECT_FAILED")));
    const { request, seen } = await sendFor(10, scene);
    expect(seen.value?.status).toBe(200);
    expect(entry(request)).toMatchObject({ status: 0, latencyMs: 4, primaryStatus: 200, sameShape: false });
  });

  test("whose copy's answer breaks off is noted as a failure of the mirror", async () => {
    const { body } = fedBody();
    const scene = stage(later(10, json("{}")), answer(200, JSON_TYPE, body));
    const running = sendFor(10, scene);
    await scene.clock.advance(1);
    body.fail(failure("UPSTREAM_ABORTED"));
    const { request } = await running;
    expect(entry(request)).toMatchObject({ status: 0, primaryStatus: 200 });
  });

  test("that fails itself takes its copy along, and fails as it would have", async () => {
    const error = failure("UPSTREAM_RESET");
    const scene = stage(later(10, error), "silence");
    const { seen } = await sendFor(10, scene);
    expect(seen.error).toBe(error);
    expect(scene.mirrored.requests[0]!.cancelled.value).toBeDefined();
  });

  test("that is cancelled takes its copy along at once", async () => {
    const scene = stage("silence", "silence");
    const { request } = await sendFor(1, scene);
    request.cancelled.fire(failure("DEADLINE_EXCEEDED"));
    expect(scene.mirrored.requests[0]!.cancelled.value).toBeDefined();
  });

  test("is passed to the byte, broken off where it breaks off, held back where the application is slow", async () => {
    const { body, told } = fedBody(8);
    const scene = stage(answer(200, "", body), "silence");
    const { seen } = await sendFor(0, scene);
    expect(seen.value!.body.length).toBe(8);
    const application = read(seen.value!.body);
    body.push(Buffer.from("half"));
    seen.value!.body.resume();
    expect(told).toContain("resume");
    body.fail(failure("UPSTREAM_ABORTED"));
    expect(application).toEqual({ text: "half", ended: false, error: "UPSTREAM_ABORTED" });
  });

  test("tells the upstream when the application wants no more", async () => {
    const { body, told } = fedBody();
    const { seen } = await sendFor(0, stage(answer(200, "", body), "silence"));
    seen.value!.body.cancel(failure("CLIENT_GONE"));
    expect(told).toEqual(["cancel"]);
  });
});

describe("a body that is still coming", () => {
  const posted = async (scene: ReturnType<typeof stage>, length: number | null = null) => {
    const { body, told } = fedBody(length);
    const request = call({ method: "POST", body });
    const seen = watch(scene.send(request));
    await scene.clock.advance(0);
    const [sent] = scene.upstream.requests;
    return { body, told, request, seen, received: read(sent!.body) };
  };

  test("goes on to the upstream at once, and to the mirror when all of it is here", async () => {
    const scene = stage(later(50, json("{}")), json("{}"));
    const { body, request, received } = await posted(scene);
    body.push(Buffer.from("pay"));
    await scene.clock.advance(10);
    expect([received.text, scene.mirrored.requests.length]).toEqual(["pay", 0]);
    expect(entry(request)).toBeUndefined();
    body.push(Buffer.from("load"));
    body.end();
    expect(received).toEqual({ text: "payload", ended: true, error: "" });
    expect(scene.mirrored.requests[0]!.body.whole).toBe("payload");
    expect(scene.mirrored.startedMs).toEqual([10]);
    await scene.clock.advance(40);
    expect(entry(request)).toMatchObject({ latencyMs: 0, primaryLatencyMs: 50, sameShape: true });
  });

  test("and turns out too long passes, is not kept, and gives its place to another call", async () => {
    const scene = stage("silence", "silence", { bodyBytesMax: 5, concurrencyMax: 1 });
    const { body, request, received } = await posted(scene);
    body.push(Buffer.from("123456"));
    body.push(Buffer.from("7"));
    body.end();
    expect(received).toMatchObject({ text: "1234567", ended: true });
    expect(entry(request)).toBeUndefined();
    watch(scene.send(call()));
    expect(scene.mirrored.requests.map(({ method }) => method)).toEqual(["GET"]);
  });

  test("and breaks off is not mirrored", async () => {
    const scene = stage("silence", "silence");
    const { body, received } = await posted(scene);
    body.push(Buffer.from("half"));
    body.fail(failure("CLIENT_GONE"));
    expect(received).toMatchObject({ text: "half", ended: false, error: "CLIENT_GONE" });
    expect(scene.mirrored.requests).toHaveLength(0);
  });

  test("and ends when the call is over is not mirrored", async () => {
    const scene = stage(json("{}"), "silence");
    const { body, request } = await posted(scene);
    settle(request);
    body.end();
    expect(scene.mirrored.requests).toHaveLength(0);
  });
});

describe("bounds", () => {
  test("no more copies at once than the policy allows, and a place is free again when a copy is done", async () => {
    const scene = stage(later(10, json("{}")), "silence", { concurrencyMax: 2 });
    const calls = Array.from({ length: 3 }, () => call());
    for (const request of calls) watch(scene.send(request));
    await scene.clock.advance(10);
    expect(scene.mirrored.requests).toHaveLength(2);
    expect(scene.upstream.requests).toHaveLength(3);
    expect(entry(calls[2]!)).toBeUndefined();
    settle(calls[0]!);
    watch(scene.send(call()));
    expect(scene.mirrored.requests).toHaveLength(3);
  });

  test("an answer of the mirror is read as far as it is compared, and cut off there", async () => {
    const { body, told } = fedBody();
    const scene = stage(later(5, answer(200, "", Body.of("x".repeat(900)))), answer(200, "", body), {
      bodyBytesMax: 1000,
    });
    const { request } = await sendFor(0, scene);
    body.push(Buffer.alloc(1000));
    expect(told).not.toContain("cancel");
    body.push(Buffer.alloc(1));
    expect(told).toContain("cancel");
    await scene.clock.advance(5);
    expect(entry(request)).toMatchObject({ status: 200, sameShape: true });
  });

  test("an answer of the mirror that says that it is longer is not read at all", async () => {
    const { body, told } = fedBody(1001);
    const scene = stage(later(5, answer(200, "", Body.of("x".repeat(900)))), answer(200, "", body));
    const { request } = await sendFor(5, scene);
    expect(told).toEqual(["cancel"]);
    expect(entry(request)).toMatchObject({ status: 200, sameShape: true });
  });

  test("an answer to the call that says so is not looked at on its way", async () => {
    const response = answer(200, "", fedBody(1001).body);
    const { request, seen } = await sendFor(0, stage(response, answer(200, "", Body.of("x".repeat(900)))));
    expect(seen.value).toBe(response);
    expect(entry(request)).toMatchObject({ status: 200, sameShape: true });
  });

  test("of a long answer to the call nothing is kept, and all of it passes", async () => {
    const { body } = fedBody();
    const scene = stage(answer(200, "", body), json("{}"), { bodyBytesMax: 10 });
    const { request, seen } = await sendFor(0, scene);
    const application = read(seen.value!.body);
    for (let i = 0; i < 5; i++) body.push(Buffer.from("12345"));
    expect(entry(request)).toMatchObject({ status: 200, sameShape: false });
    body.end();
    expect(application).toMatchObject({ text: "12345".repeat(5), ended: true });
  });

  test("a call that is not drawn, or cannot be mirrored, is left as it is", async () => {
    const scene = stage(json("{}"), json("{}"), { percent: 50 });
    const undrawn = call();
    await scene.send(undrawn);
    const tunnel = call({ method: "CONNECT" });
    await stage(json("{}"), json("{}")).send(tunnel);
    expect(scene.mirrored.requests).toHaveLength(0);
    expect([entry(undrawn), entry(tunnel)]).toEqual([undefined, undefined]);
    expect(scene.upstream.requests[0]).toBe(undrawn);
  });

  test("a mirror that throws is no failure of the call", async () => {
    const policy = mirror(OPTIONS, new VirtualClock(), { random: () => 0, workTrace: () => "" });
    const send = policy((request) => {
      if (request.host === "shadow") throw new Error("a defect");
      return Promise.resolve(answer(204));
    });
    expect((await send(call())).status).toBe(204);
  });
});
