import { describe, expect, test } from "vitest";
import { Body } from "../../src/body.ts";
import { type HedgeMoment, mayBeHedged, whyNoHedge } from "../../src/policy/hedge-judge.ts";
import { Source } from "./bodies.ts";
import { call } from "./calls.ts";

const METHODS = { methods: ["GET", "PUT"] };

describe("a call may be sent twice at once", () => {
  test.each([
    ["a method that is named", call(), true],
    ["a body that is all here", call({ method: "PUT", body: Body.of("x") }), true],
    ["a method that is not named", call({ method: "POST" }), false],
    ["a method in another case", call({ method: "get" }), false],
    ["a body that streams", call({ method: "PUT", body: new Source().body }), false],
    [
      "a client that waits for a 100",
      call({ method: "PUT", body: Body.of("x"), expectContinue: true }),
      false,
    ],
    ["an Upgrade", call({ upgrade: "websocket" }), false],
  ])("%s", (_, request, may) => {
    expect(mayBeHedged(METHODS, request)).toBe(may);
  });

  test("CONNECT never, even where it is named", () => {
    expect(mayBeHedged({ methods: ["CONNECT"] }, call({ method: "CONNECT" }))).toBe(false);
  });
});

describe("a hedge leaves when its delay is over", () => {
  const moment: HedgeMoment = {
    sent: 0,
    maxHedges: 1,
    leftMs: 1,
    signatureLeftMs: Number.POSITIVE_INFINITY,
    budgetAllows: true,
  };
  test.each<[string, Partial<HedgeMoment>, ReturnType<typeof whyNoHedge>]>([
    ["with time and budget", {}, null],
    ["the second of two", { sent: 1, maxHedges: 2 }, null],
    ["not beyond the number allowed", { sent: 1 }, "max_hedges"],
    ["not at the deadline", { leftMs: 0 }, "deadline_passed"],
    ["not behind the deadline, where a freeze may end", { leftMs: -60_000 }, "deadline_passed"],
    ["not with a signature that is too old", { signatureLeftMs: 0 }, "signature_too_old"],
    ["not without budget", { budgetAllows: false }, "budget_spent"],
  ])("%s", (_, changes, why) => {
    expect(whyNoHedge({ ...moment, ...changes })).toBe(why);
  });
});
