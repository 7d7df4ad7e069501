/**
 * W3C Trace Context (level 2) and the X-Ray header, rule by rule, as an upstream sees them. The section of the rule is in the name; the
 * cases include those of the specification's own test suite (github.com/w3c/trace-context, test/test.py).
 */
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { fieldValue, fieldValues } from "../../src/http1/fields.ts";
import { RandomPool, type RandomSource } from "../../src/policy/random.ts";
import { type TraceFormats, traceContext } from "../../src/policy/trace-context.ts";
import { answer, call, ScriptedUpstream } from "./calls.ts";

const TRACE = "12345678901234567890123456789012";
const PARENT = "1234567890123456";
const VALID = `00-${TRACE}-${PARENT}-01`;
const FRESH = "f".repeat(32);
const SPAN = "a".repeat(16);
const IDS: RandomSource = { traceId: () => FRESH, spanId: () => SPAN, fraction: () => 0 };
const BOTH: TraceFormats = ["tracecontext", "xray"];

/** The fields that the upstream gets for a call with `fields`. */
async function forwarded(fields: string, formats: TraceFormats = ["tracecontext"], random = IDS) {
  const upstream = new ScriptedUpstream(new VirtualClock(), answer());
  await traceContext(formats, random, () => "")(upstream.send)(call({ fields }));
  return upstream.requests[0]!.fields;
}

/** `traceparent` as the upstream gets it. */
async function parentFor(fields: string): Promise<string> {
  const values = fieldValues(await forwarded(fields), "traceparent");
  expect(values).toHaveLength(1);
  return values[0]!;
}

const withParent = (...tracestates: string[]) =>
  `traceparent: ${VALID}\r\n${tracestates.map((value) => `tracestate: ${value}\r\n`).join("")}`;

describe("traceparent", () => {
  test.each(["traceparent", "TraceParent", "TrAcEpArEnT", "TRACEPARENT"])(
    "§3.2: its name has any case: %s",
    async (name) => {
      expect(await parentFor(`${name}: ${VALID}\r\n`)).toBe(`00-${TRACE}-${SPAN}-01`);
    },
  );

  test("§3.2: it is written in lower case", async () => {
    expect(await forwarded(`TRACEPARENT: ${VALID}\r\n`)).toBe(`traceparent: 00-${TRACE}-${SPAN}-01\r\n`);
  });

  test.each(["trace-parent", "trace.parent"])("§3.2: %s is another header, and stays", async (name) => {
    const fields = await forwarded(`${name}: ${VALID}\r\n`);
    expect(fields).toBe(`${name}: ${VALID}\r\ntraceparent: 00-${FRESH}-${SPAN}-03\r\n`);
  });

  test.each([` ${VALID}`, `\t${VALID}`, `${VALID} `, `${VALID}\t`, `\t ${VALID} \t`])(
    "§3.2: blanks around it do not count: %j",
    async (value) => {
      expect(await parentFor(`traceparent:${value}\r\n`)).toBe(`00-${TRACE}-${SPAN}-01`);
    },
  );

  test.each([
    [`00-${TRACE}-${PARENT}-01`, "00 with 55 characters"],
    [`cc-${TRACE}-${PARENT}-01`, "a higher one with 55 characters"],
    [`cc-${TRACE}-${PARENT}-01-what-the-future-will-be-like`, "a higher one that goes on behind a hyphen"],
    [`01-${TRACE}-${PARENT}-01-`, "a higher one that ends in the hyphen"],
    [`fe-${TRACE}-${PARENT}-01`, "the highest one"],
  ])("§3.2.4: version %s (%s) is continued as version 00", async (value) => {
    expect(await parentFor(`traceparent: ${value}\r\n`)).toBe(`00-${TRACE}-${SPAN}-01`);
  });

  test.each([
    ["§3.2.2.1: version ff is forbidden", `ff-${TRACE}-${PARENT}-01`],
    ["§3.2.2.1: the version is hex", `.0-${TRACE}-${PARENT}-01`],
    ["§3.2.2.1: the version is hex in both digits", `0.-${TRACE}-${PARENT}-01`],
    ["§3.2.2.1: the version is lower case", `CC-${TRACE}-${PARENT}-01`],
    ["§3.2.2.1: the version has no third digit", `000-${TRACE}-${PARENT}-01`],
    ["§3.2.2.1: the version has no fourth digit", `0000-${TRACE}-${PARENT}-01`],
    ["§3.2.2.1: the version has two digits", `0-${TRACE}-${PARENT}-01`],
    ["§3.2.2.2: version 00 has exactly 55 characters, not a dot more", `${VALID}.`],
    ["§3.2.2.2: version 00 has exactly 55 characters, not a hyphen more", `${VALID}-`],
    ["§3.2.2.2: version 00 has exactly 55 characters, whatever comes behind", `${VALID}-what-the-future`],
    ["§3.2.2.3: a trace id of zeros is invalid", `00-${"0".repeat(32)}-${PARENT}-01`],
    ["§3.2.2.3: a trace id is lower case", `00-${"ABCDEF01".repeat(4)}-${PARENT}-01`],
    ["§3.2.2.3: a trace id is hex at its beginning", `00-.${TRACE.slice(1)}-${PARENT}-01`],
    ["§3.2.2.3: a trace id is hex at its end", `00-${TRACE.slice(1)}.-${PARENT}-01`],
    ["§3.2.2.3: a trace id has no 33rd digit", `00-${TRACE}3-${PARENT}-01`],
    ["§3.2.2.3: a trace id has 32 digits", `00-${TRACE.slice(1)}-${PARENT}-01`],
    ["§3.2.2.4: a parent id of zeros is invalid", `00-${TRACE}-${"0".repeat(16)}-01`],
    ["§3.2.2.4: a parent id is lower case", `00-${TRACE}-ABCDEF0123456789-01`],
    ["§3.2.2.4: a parent id is hex at its beginning", `00-${TRACE}-.${PARENT.slice(1)}-01`],
    ["§3.2.2.4: a parent id is hex at its end", `00-${TRACE}-${PARENT.slice(1)}.-01`],
    ["§3.2.2.4: a parent id has no 17th digit", `00-${TRACE}-${PARENT}7-01`],
    ["§3.2.2.4: a parent id has 16 digits", `00-${TRACE}-${PARENT.slice(1)}-01`],
    ["§3.2.2.5: flags are hex", `00-${TRACE}-${PARENT}-.0`],
    ["§3.2.2.5: flags are hex in both digits", `00-${TRACE}-${PARENT}-0.`],
    ["§3.2.2.5: flags have no third digit", `00-${TRACE}-${PARENT}-001`],
    ["§3.2.2.5: flags have two digits", `00-${TRACE}-${PARENT}-1`],
    ["§3.2.4: a higher version goes on behind a hyphen only", `cc-${TRACE}-${PARENT}-01.what`],
    ["§3.2.4: a higher version is no shorter than 55 characters", `cc-${TRACE}-${PARENT}-0`],
  ])("%s: a new trace begins, without the old tracestate", async (_, value) => {
    expect(await forwarded(`traceparent: ${value}\r\ntracestate: a=1\r\n`)).toBe(
      `traceparent: 00-${FRESH}-${SPAN}-03\r\n`,
    );
  });

  test("§4.3: two of them begin a new trace", async () => {
    const other = VALID.replace("12345", "54321");
    expect(await parentFor(`traceparent: ${VALID}\r\ntraceparent: ${other}\r\n`)).toBe(
      `00-${FRESH}-${SPAN}-03`,
    );
  });

  test("§3.2.2.4: the parent id is new each time, so what the sampled flag says is about this hop", async () => {
    const random = new RandomPool(() => 0);
    const parents = await Promise.all(
      [1, 2, 3].map(async () =>
        fieldValue(await forwarded(withParent(), ["tracecontext"], random), "traceparent")!.slice(36, 52),
      ),
    );
    expect(new Set([...parents, PARENT]).size).toBe(4);
  });
});

describe("flags", () => {
  test.each([
    ["§3.2.2.5.1: sampled goes on", "01", "01"],
    ["§3.2.2.5.1: not sampled goes on", "00", "00"],
    ["§3.2.2.5.2: random-trace-id is copied as it is", "02", "02"],
    ["§3.2.2.5.2: random-trace-id beside sampled is copied", "03", "03"],
    ["§3.2.2.5.3: others are zero on the way out", "fc", "00"],
    ["§3.2.2.5.3: others are zero and the known ones stay", "ff", "03"],
  ])("%s", async (_, came, leaves) => {
    expect(await parentFor(`traceparent: 00-${TRACE}-${PARENT}-${came}\r\n`)).toBe(
      `00-${TRACE}-${SPAN}-${leaves}`,
    );
  });

  test("§3.2.2.5.2: a trace id of our own is random in its right 56 bits, and says so", async () => {
    const values = await Promise.all(
      Array.from({ length: 64 }, async () =>
        fieldValue(await forwarded("", ["tracecontext"], new RandomPool(() => 0)), "traceparent"),
      ),
    );
    expect(values.every((value) => value!.endsWith("-03"))).toBe(true);
    // 64 draws of each of the 14 digits: that one digit is the same in all of them has a chance of 16 to the power of -63.
    for (let digit = 21; digit < 35; digit++) {
      expect(new Set(values.map((value) => value![digit])).size).toBeGreaterThan(1);
    }
  });

  test("§3.2.2.5.2: a trace id that comes from X-Ray does not claim to be random", async () => {
    const xray = "X-Amzn-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1\r\n";
    expect(await parentFor(xray)).toBe(`00-5759e988bd862e3fe1be46a994272793-${SPAN}-01`);
  });
});

describe("tracestate", () => {
  const members = (from: number, to: number) =>
    Array.from({ length: to - from + 1 }, (_, i) => `bar${from + i}=${from + i}`).join(",");
  const KEY = "abcdefghijklmnopqrstuvwxyz0123456789_-*/";
  const VALUE = Array.from({ length: 0x7f - 0x20 }, (_, i) => String.fromCharCode(0x20 + i))
    .filter((character) => character !== "," && character !== "=")
    .join("");

  test.each([
    ["§3.3: members keep their order and their text", ["foo=1,bar=2"]],
    ["§3.3: several lines go on in order, to be combined", ["foo=1,bar=2", "rojo=1,congo=2", "baz=3"]],
    ["§3.3.1.1: blanks around members are allowed", ["foo=1 \t , \t bar=2, \t baz=3"]],
    ["§3.3.1.2: empty members are allowed", ["foo=1,,bar=2,", ",baz=3"]],
    ["§3.3.1.2: empty lines are allowed", ["", "foo=1", ""]],
    ["§3.3.1.1: 32 members are allowed", [members(1, 10), members(11, 20), members(21, 30), members(31, 32)]],
    ["§3.3.1.1: empty members do not count", [`${members(1, 32)},,,`]],
    ["§3.3.1.3.1: every character of a key is allowed", [`${KEY}=1`]],
    ["§3.3.1.3.1: a key of several tenants is allowed", [`${KEY}@a-z0-9_-*/=1`]],
    ["§3.3.1.3.1: a key may begin with a digit", ["0foo=1"]],
    ["§3.3.1.3.1: a key may have 256 characters", [`${"z".repeat(256)}=1`]],
    ["§3.3.1.3.2: every character of a value is allowed", [`foo=${VALUE}`]],
    ["§3.3.1.3.2: a value may have 256 characters", [`foo=${"v".repeat(256)}`]],
    [
      "§3.3.1.5: far more than 512 characters go on",
      [`a=${"v".repeat(256)},b=${"w".repeat(256)}`, `c=${"x".repeat(256)}`],
    ],
    ["§3.3.1.5: nothing is cut, however long members are", [`${"k".repeat(200)}=${"v".repeat(200)},b=2`]],
    ["§3.3.1.1: a key that stands twice is the sender's business", ["foo=1,foo=2"]],
  ])("%s", async (_, values) => {
    expect(await forwarded(withParent(...values))).toBe(
      `${values.map((value) => `tracestate: ${value}\r\n`).join("")}traceparent: 00-${TRACE}-${SPAN}-01\r\n`,
    );
  });

  test.each([
    ["§3.3.1.1: 33 members are too many", [members(1, 33)]],
    ["§3.3.1.1: 33 members are too many, on however many lines", [members(1, 30), members(31, 33)]],
    ["§3.3.1.3: a member has an equals sign", ["foo"]],
    ["§3.3.1.3.1: a key has no blank", ["foo =1"]],
    ["§3.3.1.3.1: a key has no upper case", ["FOO=1"]],
    ["§3.3.1.3.1: a key has no dot", ["foo.bar=1"]],
    ["§3.3.1.3.1: a key does not begin with @", ["@foo=1,bar=2"]],
    ["§3.3.1.3.1: a key is not empty", ["=1"]],
    ["§3.3.1.3.1: a key has at most 256 characters", ["foo=1", `${"z".repeat(257)}=1`]],
    ["§3.3.1.3.2: a value has no equals sign", ["foo=bar=baz"]],
    ["§3.3.1.3.2: a value is not empty", ["foo=,bar=3"]],
    ["§3.3.1.3.2: a value is ASCII", ["foo=\xe9"]],
    ["§3.3.1.3.2: a value has at most 256 characters", [`foo=${"v".repeat(257)}`]],
  ])("%s: all of it is discarded, the trace goes on", async (_, values) => {
    expect(await forwarded(withParent(...values))).toBe(`traceparent: 00-${TRACE}-${SPAN}-01\r\n`);
  });

  test.each(["TraceState", "TrAcEsTaTe", "TRACESTATE"])("§3.3: its name has any case: %s", async (name) => {
    const fields = await forwarded(`traceparent: ${VALID}\r\n${name}: foo=1\r\n`);
    expect(fieldValue(fields, "tracestate")).toBe("foo=1");
    expect(await forwarded(`${name}: foo=1\r\n`)).not.toContain("foo");
  });

  test.each(["trace-state", "trace.state"])("§3.3: %s is another header, and stays", async (name) => {
    const fields = await forwarded(`traceparent: ${VALID}\r\n${name}: FOO\r\n`);
    expect(fields).toContain(`${name}: FOO\r\n`);
  });

  test("§4.3: without a traceparent it is discarded", async () => {
    expect(await forwarded("tracestate: foo=1\r\n")).toBe(`traceparent: 00-${FRESH}-${SPAN}-03\r\n`);
  });

  test("§4.3: beside a traceparent that may not be changed it is not changed either", async () => {
    const signed =
      "Authorization: AWS4-HMAC-SHA256 Credential=A, SignedHeaders=host;traceparent;tracestate, Signature=0\r\n";
    const fields = `${signed}traceparent: ${VALID}\r\ntracestate: ${members(1, 33)}\r\n`;
    expect(await forwarded(fields)).toBe(fields);
  });

  test("§3.3: no entry of our own is added", async () => {
    expect(fieldValues(await forwarded(withParent()), "tracestate")).toEqual([]);
  });
});

describe("X-Amzn-Trace-Id", () => {
  const ROOT = "Root=1-5759e988-bd862e3fe1be46a994272793";
  const headerFor = async (value: string, formats: TraceFormats = ["xray"]) =>
    fieldValue(await forwarded(`X-Amzn-Trace-Id: ${value}\r\n`, formats), "x-amzn-trace-id");

  test.each([
    ["keys in any order", `Sampled=1;Parent=53995c3f42cd8ad8;${ROOT}`, `Sampled=1;Parent=${SPAN};${ROOT}`],
    [
      "keys in lower case",
      `root=${ROOT.slice(5)};parent=53995c3f42cd8ad8`,
      `root=${ROOT.slice(5)};parent=${SPAN}`,
    ],
    [
      "a Parent that is missing is added behind the Root",
      `${ROOT};Sampled=1`,
      `${ROOT};Parent=${SPAN};Sampled=1`,
    ],
    ["an undecided Sampled stays undecided", `${ROOT};Sampled=?`, `${ROOT};Parent=${SPAN};Sampled=?`],
    [
      "Self and Lineage stay, byte for byte",
      `Self=1-67891234-12456789abcdef012345678;${ROOT};Parent=53995c3f42cd8ad8;Sampled=1;Lineage=25:a87bd80c:1|68fd508a:5`,
      `Self=1-67891234-12456789abcdef012345678;${ROOT};Parent=${SPAN};Sampled=1;Lineage=25:a87bd80c:1|68fd508a:5`,
    ],
    [
      "what nobody knows stays",
      `${ROOT};CalledFrom=app;Parent=53995c3f42cd8ad8`,
      `${ROOT};CalledFrom=app;Parent=${SPAN}`,
    ],
  ])("%s", async (_, came, leaves) => {
    expect(await headerFor(came)).toBe(leaves);
  });

  test("its Root and the W3C trace id are one, both ways", async () => {
    const toW3c = await forwarded(`X-Amzn-Trace-Id: ${ROOT}\r\n`, BOTH);
    expect(fieldValue(toW3c, "traceparent")).toBe(`00-5759e988bd862e3fe1be46a994272793-${SPAN}-01`);
    const toXray = await forwarded(withParent(), BOTH);
    expect(fieldValue(toXray, "x-amzn-trace-id")).toBe(
      `Root=1-${TRACE.slice(0, 8)}-${TRACE.slice(8)};Parent=${SPAN};Sampled=1`,
    );
  });

  test("its Parent and the W3C parent id are one span", async () => {
    const fields = await forwarded("", BOTH);
    expect(fieldValue(fields, "traceparent")).toContain(`-${SPAN}-`);
    expect(fieldValue(fields, "x-amzn-trace-id")).toContain(`;Parent=${SPAN};`);
  });
});

describe("formats that this proxy does not speak go on as they came", () => {
  test.each([
    ["baggage, within and beyond 64 members", `baggage: ${"k=v;prop,".repeat(70)}k2=v%20v\r\n`],
    ["baggage of 8 192 bytes", `baggage: k=${"v".repeat(8190)}\r\n`],
    ["B3 in one header", `b3: ${TRACE}-${PARENT}-1-${PARENT}\r\n`],
    ["B3 that only denies", "b3: 0\r\n"],
    [
      "B3 in several headers",
      `X-B3-TraceId: ${TRACE}\r\nX-B3-SpanId: ${PARENT}\r\nX-B3-ParentSpanId: ${PARENT}\r\nX-B3-Sampled: 1\r\nX-B3-Flags: 1\r\n`,
    ],
    ["X-Cloud-Trace-Context", `X-Cloud-Trace-Context: ${TRACE}/1234;o=1\r\n`],
  ])("%s", async (_, fields) => {
    expect((await forwarded(fields, BOTH)).startsWith(`${fields}traceparent: `)).toBe(true);
  });
});
