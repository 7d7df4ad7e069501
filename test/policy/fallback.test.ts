import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import type { FallbackOptions } from "../../src/config/types.ts";
import { ERROR_CODES, type ErrorCode } from "../../src/errors.ts";
import type { RequestParts } from "../../src/exchange.ts";
import { failureCause, isAnswerable } from "../../src/policy/failure-cause.ts";
import { fallback } from "../../src/policy/fallback.ts";
import { Source } from "./bodies.ts";
import { answer, call, failure, ScriptedUpstream, type Step, settle, trailOf } from "./calls.ts";

const CODES = Object.keys(ERROR_CODES) as ErrorCode[];

describe("a failure that another answer may stand in for", () => {
  const refused: readonly ErrorCode[] = ["DENIED", "ADDRESS_DENIED"];
  const covered = CODES.filter((code) => ERROR_CODES[code].blame !== "client" && !refused.includes(code));

  test.each(covered)("is %s", (code) => {
    expect(failureCause(call(), failure(code), [])).toBe(code);
  });

  test.each(CODES.filter((code) => !covered.includes(code)))(
    "is not %s: the application's own, or an access rule",
    (code) => {
      expect(failureCause(call(), failure(code), [])).toBe(null);
    },
  );

  test.each([
    [503, [502, 503], "503"],
    [500, [502, 503], null],
    [200, [502, 503], null],
    [404, [404], "404"],
  ])("is a status of %i where the policy names %j: %s", (status, statuses, why) => {
    expect(failureCause(call(), answer(status), statuses)).toBe(why);
  });

  test("is none once the application has broken off", () => {
    const request = call();
    request.cancelled.fire(failure("CLIENT_GONE"));
    expect(failureCause(request, failure("UPSTREAM_RESET"), [])).toBe(null);
    expect(failureCause(request, answer(503), [503])).toBe(null);
  });

  test("is one when the deadline has broken the call off", () => {
    const request = call();
    request.cancelled.fire(failure("DEADLINE_EXCEEDED"));
    expect(failureCause(request, failure("DEADLINE_EXCEEDED"), [])).toBe("DEADLINE_EXCEEDED");
  });
});

describe("a call that can be answered by somebody else", () => {
  test.each<[string, Partial<RequestParts>, boolean]>([
    ["a GET", {}, true],
    ["a POST", { method: "POST" }, true],
    ["a tunnel", { method: "CONNECT" }, false],
    ["a change of protocol", { upgrade: "websocket" }, false],
    ["gRPC", { method: "POST", fields: "Content-Type: application/grpc+proto\r\n" }, false],
  ])("%s: %s", (_, parts, answerable) => {
    expect(isAnswerable(call(parts))).toBe(answerable);
  });
});

const OPTIONS: FallbackOptions = {
  statuses: [502, 503],
  status: 200,
  contentType: "application/json",
  body: '{"prices":[]}',
};

function scene(step: Step, options: Partial<FallbackOptions> = {}) {
  const upstream = new ScriptedUpstream(new VirtualClock(), step);
  return { upstream, send: fallback({ ...OPTIONS, ...options })(upstream.send) };
}

describe("the answer of the policy", () => {
  test("takes the place of an error, says who made it, and is noted", async () => {
    const { send } = scene(failure("CONNECT_FAILED"));
    const request = call();
    const response = await send(request);
    expect([response.status, response.body.whole]).toEqual([200, '{"prices":[]}']);
    expect(response.fields).toBe(
      "Content-Type: application/json\r\nCache-Control: no-store\r\nOutrider-Served: fallback\r\n",
    );
    expect(trailOf(request)).toEqual([{ kind: "fallback", why: "CONNECT_FAILED", ageMs: -1 }]);
  });

  test("takes the place of a status that is named, whose body is read off its connection or cut off with the call", async () => {
    const source = new Source();
    const { send } = scene(answer(503, "", source.body));
    const request = call();
    expect((await send(request)).status).toBe(200);
    source.push("dropped");
    expect([source.paused, source.cancelledFor]).toEqual([false, null]);
    settle(request);
    expect(source.cancelledFor?.code).toBe("SUPERSEDED");
  });

  test("has its text in UTF-8, and no Content-Type where there is none", async () => {
    const { send } = scene(failure("DNS_FAILED"), { body: "né", contentType: "" });
    const response = await send(call());
    expect(Buffer.from(response.body.whole!, "latin1").toString("utf8")).toBe("né");
    expect(response.fields).not.toContain("Content-Type");
  });

  test("is a body of its own for each call", async () => {
    const { send } = scene(failure("DNS_FAILED"));
    const [first, second] = [await send(call()), await send(call())];
    expect(first.body).not.toBe(second.body);
  });

  test.each<[string, Step, Partial<RequestParts>]>([
    ["a good answer", answer(200), {}],
    ["a status that is not named", answer(500), {}],
  ])("leaves alone %s", async (_, step, parts) => {
    const { send } = scene(step);
    expect(await send(call(parts))).toBe(step);
  });

  test("never answers for a call that the application gave up", async () => {
    const { send } = scene(failure("UPSTREAM_RESET"));
    const request = call();
    request.cancelled.fire(failure("CLIENT_GONE"));
    await expect(send(request)).rejects.toMatchObject({ code: "CLIENT_GONE" });
    expect(trailOf(request)).toEqual([]);
  });

  test("never pretends to be a tunnel", async () => {
    const { send } = scene(failure("CONNECT_FAILED"));
    await expect(send(call({ method: "CONNECT" }))).rejects.toMatchObject({ code: "CONNECT_FAILED" });
  });
});
