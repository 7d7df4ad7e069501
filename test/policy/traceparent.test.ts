import { describe, expect, test } from "vitest";
import {
  formatTraceparent,
  parseTraceparent,
  RANDOM_TRACE_ID,
  SAMPLED,
} from "../../src/policy/traceparent.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";

describe("traceparent", () => {
  test.each([
    ["not sampled", `00-${TRACE}-${SPAN}-00`, 0],
    ["sampled", `00-${TRACE}-${SPAN}-01`, SAMPLED],
    ["random trace id", `00-${TRACE}-${SPAN}-03`, SAMPLED | RANDOM_TRACE_ID],
    [
      "flags that level 2 does not know are not passed on",
      `00-${TRACE}-${SPAN}-ff`,
      SAMPLED | RANDOM_TRACE_ID,
    ],
    ["a higher version", `cc-${TRACE}-${SPAN}-01`, SAMPLED],
    ["a higher version with more behind", `cc-${TRACE}-${SPAN}-01-what-the-future-will-be-like`, SAMPLED],
    ["a higher version with an empty rest", `cc-${TRACE}-${SPAN}-01-`, SAMPLED],
  ])("%s", (_, value, flags) => {
    expect(parseTraceparent(value)).toEqual({ traceId: TRACE, parentId: SPAN, flags });
  });

  test.each([
    ["empty", ""],
    ["version ff", `ff-${TRACE}-${SPAN}-01`],
    ["version 00 with more behind", `00-${TRACE}-${SPAN}-01-x`],
    ["version 00 with a hyphen behind", `00-${TRACE}-${SPAN}-01-`],
    ["a higher version that goes on without a hyphen", `cc-${TRACE}-${SPAN}-01x`],
    ["trace id of zeros", `00-${"0".repeat(32)}-${SPAN}-01`],
    ["parent id of zeros", `00-${TRACE}-${"0".repeat(16)}-01`],
    ["upper case", `00-${TRACE.toUpperCase()}-${SPAN}-01`],
    ["too short", `00-${TRACE.slice(1)}-${SPAN}-01`],
    ["too long", `00-${TRACE}0-${SPAN}-01`],
    ["no flags", `00-${TRACE}-${SPAN}`],
    ["flags of one digit", `00-${TRACE}-${SPAN}-1`],
    ["not hex", `00-${TRACE.replace("4", "g")}-${SPAN}-01`],
    ["two values", `00-${TRACE}-${SPAN}-01,00-${TRACE}-${SPAN}-01`],
    ["blanks", ` 00-${TRACE}-${SPAN}-01`],
  ])("%s is invalid", (_, value) => {
    expect(parseTraceparent(value)).toBeNull();
  });

  test("what is written can be read", () => {
    for (const flags of [0, 1, 2, 3]) {
      const value = formatTraceparent(TRACE, SPAN, flags);
      expect(value).toHaveLength(55);
      expect(parseTraceparent(value)).toEqual({ traceId: TRACE, parentId: SPAN, flags });
    }
  });
});
