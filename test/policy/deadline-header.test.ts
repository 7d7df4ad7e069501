import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { compose } from "../../src/exchange.ts";
import { fieldValues } from "../../src/http1/fields.ts";
import { deadlineHeader, deadlineValue } from "../../src/policy/deadline-header.ts";
import { retry } from "../../src/policy/retry.ts";
import { answer, call, failure, retryOptions, ScriptedUpstream, watch } from "./calls.ts";

const NAME = "x-remaining-ms";
const SIGNED = `Authorization: AWS4-HMAC-SHA256 SignedHeaders=host;${NAME}, Signature=0\r\n`;

describe("the value", () => {
  test.each([
    [NAME, 1500, "1500"],
    [NAME, 1499.9, "1499"],
    [NAME, 1, "1"],
    [NAME, 0.4, "1"],
    [NAME, -20, "1"],
    ["grpc-timeout", 1500, "1500m"],
    ["grpc-timeout", 86_400_000 * 30, "99999999m"],
  ])("of %s with %d ms left is %s", (name, leftMs, value) => {
    expect(deadlineValue(name, leftMs)).toBe(value);
  });
});

describe("the stage", () => {
  /** What the upstream reads at 1000 ms. */
  async function received(fields: string, deadlineMs: number, parts = {}, name = NAME): Promise<string[]> {
    const clock = new VirtualClock(1000);
    const upstream = new ScriptedUpstream(clock, answer());
    await deadlineHeader(name, clock)(upstream.send)(call({ fields, ...parts }).with({ deadlineMs }));
    return fieldValues(upstream.requests[0]!.fields, name);
  }

  test.each<[string, string, number, object, string[]]>([
    ["tells what is left", "", 2500.7, {}, ["1500"]],
    ["tells at least 1", "", 1000.2, {}, ["1"]],
    ["says nothing of a call without a deadline", "", Number.POSITIVE_INFINITY, {}, []],
    [
      "leaves the application's word in a call without one",
      `${NAME}: 9\r\n`,
      Number.POSITIVE_INFINITY,
      {},
      ["9"],
    ],
    ["shortens the application's word", "X-Remaining-Ms: 9000\r\n", 2500, {}, ["1500"]],
    ["keeps a shorter word", "X-Remaining-Ms: 40\r\n", 2500, {}, ["40"]],
    ["replaces a word that cannot be read", "X-Remaining-Ms: soon\r\n", 2500, {}, ["1500"]],
    ["never touches a field that is signed", `${SIGNED}${NAME}: 9000\r\n`, 2500, {}, ["9000"]],
    ["does not add a field that is signed", SIGNED, 2500, {}, []],
    ["leaves CONNECT alone: its head ends at the tunnel's other end", "", 2500, { method: "CONNECT" }, []],
  ])("%s", async (_, fields, deadlineMs, parts, values) => {
    expect(await received(fields, deadlineMs, parts)).toEqual(values);
  });

  test("writes grpc-timeout in its own notation, and keeps a shorter one", async () => {
    expect(await received("grpc-timeout: 9S\r\n", 2500, {}, "grpc-timeout")).toEqual(["1500m"]);
    expect(await received("grpc-timeout: 1S\r\n", 2500, {}, "grpc-timeout")).toEqual(["1S"]);
  });

  test("tells each attempt what is left for it", async () => {
    const clock = new VirtualClock();
    const upstream = new ScriptedUpstream(
      clock,
      { afterMs: 300, outcome: failure("UPSTREAM_RESET") },
      answer(),
    );
    const options = { retry: retryOptions(), perTryTimeoutMs: 0 };
    const send = compose(
      [retry(options, clock, { random: () => 1, workSequence: () => 0 }), deadlineHeader(NAME, clock)],
      upstream.send,
    );
    watch(send(call().with({ deadlineMs: 2000 })));
    await clock.advance(1000);
    expect(upstream.requests.map(({ fields }) => fieldValues(fields, NAME))).toEqual([["2000"], ["1600"]]);
  });
});
