import { describe, expect, test } from "vitest";
import { formatXray, parentSlot, parseXray } from "../../src/policy/xray.ts";

const TRACE = "5759e988bd862e3fe1be46a994272793";
const ROOT = "Root=1-5759e988-bd862e3fe1be46a994272793";
const SPAN = "00f067aa0ba902b7";
const OLD = "53995c3f42cd8ad8";

describe("the value of X-Amzn-Trace-Id", () => {
  test.each([
    ["all of it", `${ROOT};Parent=${OLD};Sampled=1`, true],
    ["another order", `Sampled=0;Parent=${OLD};${ROOT}`, false],
    ["Root alone", ROOT, null],
    ["undecided", `${ROOT};Sampled=?`, null],
    ["unknown fields around", `Self=1-x;${ROOT};Lineage=25:a87bd80c:1|68fd508a:5;Sampled=1`, true],
    ["keys in lower case", `root=1-5759e988-bd862e3fe1be46a994272793;sampled=1`, true],
    ["digits in upper case", `Root=1-5759E988-BD862E3FE1BE46A994272793`, null],
    ["blanks behind the semicolons", `${ROOT}; Parent=${OLD}; Sampled=1`, true],
  ])("%s", (_, value, sampled) => {
    expect(parseXray(value)).toEqual({ traceId: TRACE, sampled });
  });

  test.each([
    "",
    "Sampled=1",
    "Root=",
    "Root=1-5759e988-bd862e3f",
    "Root=2-5759e988-bd862e3fe1be46a994272793",
    `Root=1-5759e988-bd862e3fe1be46a9942727930`,
    `Chroot=1-5759e988-bd862e3fe1be46a994272793`,
    "1-5759e988-bd862e3fe1be46a994272793",
  ])("%j has no root", (value) => {
    expect(parseXray(value)).toBeNull();
  });

  test("is written with Root, Parent and Sampled", () => {
    expect(formatXray(TRACE, SPAN, true)).toBe(`${ROOT};Parent=${SPAN};Sampled=1`);
    expect(parseXray(formatXray(TRACE, SPAN, false))).toEqual({ traceId: TRACE, sampled: false });
  });
});

describe("another parent", () => {
  const other = "f".repeat(32);
  test.each([
    ["in its place", `${ROOT};Parent=${OLD};Sampled=1`, `${ROOT};Parent=${SPAN};Sampled=1`],
    ["in whatever order", `Sampled=1;Parent=${OLD};${ROOT}`, `Sampled=1;Parent=${SPAN};${ROOT}`],
    ["behind the root when there was none", `${ROOT};Sampled=1`, `${ROOT};Parent=${SPAN};Sampled=1`],
    ["behind a root that is the last", `Sampled=1;${ROOT}`, `Sampled=1;${ROOT};Parent=${SPAN}`],
    [
      "Lineage and unknown fields stay, byte by byte",
      `${ROOT};Parent=${OLD};Sampled=?;Lineage=25:a87bd80c:1|68fd508a:5;Self=1-0-0;x= y`,
      `${ROOT};Parent=${SPAN};Sampled=?;Lineage=25:a87bd80c:1|68fd508a:5;Self=1-0-0;x= y`,
    ],
    ["a malformed parent is replaced", `${ROOT};Parent=nobody`, `${ROOT};Parent=${SPAN}`],
    [
      "keys keep their case",
      `root=1-5759e988-bd862e3fe1be46a994272793;parent=${OLD}`,
      `root=1-5759e988-bd862e3fe1be46a994272793;parent=${SPAN}`,
    ],
    [
      "a name that only ends alike is another field",
      `${ROOT};Grandparent=${OLD}`,
      `${ROOT};Parent=${SPAN};Grandparent=${OLD}`,
    ],
    [
      "without a root it gets one",
      "Lineage=a:1;Sampled=1",
      `Root=1-ffffffff-${"f".repeat(24)};Parent=${SPAN};Lineage=a:1;Sampled=1`,
    ],
    [
      "a malformed root is replaced",
      `Root=x;Lineage=a:1`,
      `Root=1-ffffffff-${"f".repeat(24)};Parent=${SPAN};Lineage=a:1`,
    ],
    [
      "a malformed root in the middle, too",
      `Lineage=a:1;Root=x;Parent=${OLD}`,
      `Root=1-ffffffff-${"f".repeat(24)};Lineage=a:1;Parent=${SPAN}`,
    ],
  ])("%s", (_, value, expected) => {
    const { before, after } = parentSlot(value, other);
    expect(before + SPAN + after).toBe(expected);
  });
});
