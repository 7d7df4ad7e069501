import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import type { EgressRequest } from "../../src/exchange.ts";
import { fieldValue, fieldValues } from "../../src/http1/fields.ts";
import type { RandomSource } from "../../src/policy/random.ts";
import { invocationTrace, type TraceFormats, traceContext } from "../../src/policy/trace-context.ts";
import { answer, call, ScriptedUpstream } from "./calls.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";
const ROOT = "Root=1-5759e988-bd862e3fe1be46a994272793";
const ROOT_TRACE = "5759e988bd862e3fe1be46a994272793";
const INVOCATION = `${ROOT};Parent=53995c3f42cd8ad8;Sampled=0;Lineage=25:a87bd80c:1`;
const FRESH = "f".repeat(32);
const BOTH: TraceFormats = ["tracecontext", "xray"];

/** Ids that can be told apart: spans count from 1, every new trace is `FRESH`. */
function ids(): RandomSource {
  let spans = 0;
  return {
    spanId: () => (++spans).toString(16).padStart(16, "0"),
    traceId: () => FRESH,
    fraction: () => 0,
  };
}

const FIRST = "0000000000000001";

async function sent(
  request: EgressRequest,
  formats: TraceFormats = BOTH,
  invocation = "",
): Promise<EgressRequest> {
  const upstream = new ScriptedUpstream(new VirtualClock(), answer());
  await traceContext(formats, ids(), () => invocation)(upstream.send)(request);
  return upstream.requests[0]!;
}

function contextOf({ fields }: EgressRequest) {
  return {
    traceparent: fieldValue(fields, "traceparent"),
    tracestate: fieldValue(fields, "tracestate"),
    xray: fieldValue(fields, "x-amzn-trace-id"),
  };
}

describe("the application's own context", () => {
  test.each([
    ["sampled", "01", "01"],
    ["not sampled", "00", "00"],
    ["random trace id", "02", "02"],
    ["flags that nobody knows", "fd", "01"],
  ])("traceparent is continued with a parent of this attempt: %s", async (_, flags, expected) => {
    const fields = `Traceparent: 00-${TRACE}-${SPAN}-${flags}\r\nTracestate: a=1\r\ntracestate: b=2\r\n`;
    const request = await sent(call({ fields }), ["tracecontext"], INVOCATION);
    expect(fieldValues(request.fields, "traceparent")).toEqual([`00-${TRACE}-${FIRST}-${expected}`]);
    expect(fieldValues(request.fields, "tracestate")).toEqual(["a=1", "b=2"]);
    expect(request.trail).toEqual([{ kind: "trace", traceId: TRACE, spanId: FIRST }]);
  });

  test("X-Amzn-Trace-Id keeps its root, its Lineage and what nobody knows", async () => {
    const fields = `X-Amzn-Trace-Id: ${ROOT};Parent=${SPAN};Sampled=1;Lineage=x:9;New=1\r\n`;
    const request = await sent(call({ fields }), ["xray"], INVOCATION.replace("5759e988", "00000000"));
    expect(contextOf(request).xray).toBe(`${ROOT};Parent=${FIRST};Sampled=1;Lineage=x:9;New=1`);
    expect(request.trail).toEqual([{ kind: "trace", traceId: ROOT_TRACE, spanId: FIRST }]);
  });

  test("each format goes on with its own trace when both are there", async () => {
    const fields = `traceparent: 00-${TRACE}-${SPAN}-01\r\nx-amzn-trace-id: ${ROOT};Parent=${SPAN};Sampled=0\r\n`;
    expect(contextOf(await sent(call({ fields })))).toEqual({
      traceparent: `00-${TRACE}-${FIRST}-01`,
      tracestate: undefined,
      xray: `${ROOT};Parent=${FIRST};Sampled=0`,
    });
  });

  test("traceparent begins from X-Amzn-Trace-Id when that is all there is", async () => {
    const fields = `x-amzn-trace-id: ${ROOT};Sampled=0\r\n`;
    expect(contextOf(await sent(call({ fields }))).traceparent).toBe(`00-${ROOT_TRACE}-${FIRST}-00`);
  });

  test("X-Amzn-Trace-Id is made of traceparent when that is all there is", async () => {
    const fields = `traceparent: 00-${TRACE}-${SPAN}-01\r\n`;
    expect(contextOf(await sent(call({ fields }))).xray).toBe(
      `Root=1-${TRACE.slice(0, 8)}-${TRACE.slice(8)};Parent=${FIRST};Sampled=1`,
    );
  });

  test.each([
    ["malformed", `traceparent: 00-${TRACE}-${SPAN}\r\n`],
    ["repeated", `traceparent: 00-${TRACE}-${SPAN}-01\r\ntraceparent: 00-${TRACE}-${SPAN}-01\r\n`],
    ["missing", ""],
  ])("a traceparent that is %s begins a new trace, without the old tracestate", async (_, fields) => {
    const request = await sent(call({ fields: `${fields}tracestate: a=1\r\nAccept: */*\r\n` }), [
      "tracecontext",
    ]);
    expect(request.fields).toBe(`Accept: */*\r\ntraceparent: 00-${FRESH}-${FIRST}-03\r\n`);
  });

  test("a format that is not to be written is not touched", async () => {
    const fields = `traceparent: 00-${TRACE}-${SPAN}-01\r\ntracestate: a=1\r\n`;
    expect((await sent(call({ fields }), ["xray"], INVOCATION)).fields.startsWith(fields)).toBe(true);
    const xray = `X-Amzn-Trace-Id: ${ROOT}\r\n`;
    expect((await sent(call({ fields: xray }), ["tracecontext"])).fields.startsWith(xray)).toBe(true);
  });
});

describe("a call without a context", () => {
  test("is put under the invocation's X-Ray trace, Lineage included", async () => {
    const request = await sent(call(), BOTH, INVOCATION);
    expect(contextOf(request)).toEqual({
      traceparent: `00-${ROOT_TRACE}-${FIRST}-00`,
      tracestate: undefined,
      xray: `${ROOT};Parent=${FIRST};Sampled=0;Lineage=25:a87bd80c:1`,
    });
    expect(request.trail).toEqual([{ kind: "trace", traceId: ROOT_TRACE, spanId: FIRST }]);
  });

  test("is put under the invocation's traceparent", async () => {
    expect(contextOf(await sent(call(), BOTH, `00-${TRACE}-${SPAN}-02`))).toEqual({
      traceparent: `00-${TRACE}-${FIRST}-02`,
      tracestate: undefined,
      xray: `Root=1-${TRACE.slice(0, 8)}-${TRACE.slice(8)};Parent=${FIRST};Sampled=0`,
    });
  });

  test.each(["", "nonsense", "Sampled=1"])(
    "begins a trace when the invocation has none: %j",
    async (invocation) => {
      expect(contextOf(await sent(call(), BOTH, invocation))).toEqual({
        traceparent: `00-${FRESH}-${FIRST}-03`,
        tracestate: undefined,
        xray: `Root=1-ffffffff-${"f".repeat(24)};Parent=${FIRST};Sampled=1`,
      });
    },
  );

  test("keeps everything else as it stood", async () => {
    const fields = "Accept: */*\r\nX-ODD:  spaces \r\n";
    const request = await sent(call({ fields }), ["tracecontext"]);
    expect(request.fields).toBe(`${fields}traceparent: 00-${FRESH}-${FIRST}-03\r\n`);
  });
});

describe("the invocation's trace", () => {
  test.each([
    ["characters that no field may have", `${ROOT};x=\r\nEvil: 1`],
    ["other than ASCII", `${ROOT};x=é`],
    ["too long", `${ROOT};x=${"y".repeat(1024)}`],
  ])("is ignored: %s", (_, text) => {
    expect(invocationTrace(text)).toBeNull();
  });

  test("undecided counts as sampled", () => {
    expect(invocationTrace(`${ROOT};Sampled=?`)).toMatchObject({ flags: 1 });
    expect(invocationTrace(ROOT)).toMatchObject({ flags: 1 });
  });

  test("is read again when another invocation runs", async () => {
    let invocation = INVOCATION;
    const upstream = new ScriptedUpstream(new VirtualClock(), answer());
    const send = traceContext(["xray"], ids(), () => invocation)(upstream.send);
    await send(call());
    invocation = INVOCATION.replace("5759e988", "6868e988");
    await send(call());
    expect(contextOf(upstream.requests[1]!).xray).toMatch(/^Root=1-6868e988-/);
  });
});

describe("a signed field is never touched", () => {
  const signed = (names: string) =>
    `Authorization: AWS4-HMAC-SHA256 Credential=A, SignedHeaders=${names}, Signature=0\r\n`;

  test("traceparent", async () => {
    const fields = `${signed("host;traceparent;tracestate")}traceparent: 00-${TRACE}-${SPAN}-01\r\ntracestate: a=1\r\n`;
    const request = await sent(call({ fields }));
    expect(request.fields.startsWith(fields)).toBe(true);
    expect(contextOf(request).xray).toContain(`Parent=${FIRST}`);
    expect(request.trail).toEqual([{ kind: "trace", traceId: TRACE, spanId: FIRST }]);
  });

  test("a malformed traceparent, and a tracestate beside it", async () => {
    const fields = `${signed("host;traceparent")}traceparent: x\r\ntracestate: a=1\r\n`;
    expect((await sent(call({ fields }), ["tracecontext"])).fields).toBe(fields);
  });

  test("a tracestate without a traceparent", async () => {
    const fields = `${signed("host;tracestate")}tracestate: a=1\r\n`;
    expect(contextOf(await sent(call({ fields }), ["tracecontext"])).tracestate).toBe("a=1");
  });

  test("a field that is signed as absent", async () => {
    const fields = signed("host;traceparent;x-amzn-trace-id");
    expect((await sent(call({ fields }), BOTH, INVOCATION)).fields).toBe(fields);
  });

  test("by a presigned URL", async () => {
    const path = "/key?X-Amz-SignedHeaders=host%3Bx-amzn-trace-id";
    const fields = `X-Amzn-Trace-Id: ${ROOT}\r\n`;
    expect((await sent(call({ path, fields }), ["xray"])).fields).toBe(fields);
  });

  test("but X-Amzn-Trace-Id beside a signature that leaves it out is", async () => {
    const fields = `${signed("host;x-amz-date")}X-Amzn-Trace-Id: ${ROOT};Parent=${SPAN}\r\n`;
    expect(contextOf(await sent(call({ fields }), ["xray"])).xray).toBe(`${ROOT};Parent=${FIRST}`);
  });
});

describe("attempts", () => {
  test("of one call share its trace and have a span each", async () => {
    const upstream = new ScriptedUpstream(new VirtualClock(), answer());
    let traces = 0;
    const source: RandomSource = { ...ids(), traceId: () => (++traces).toString(16).padStart(32, "0") };
    const send = traceContext(BOTH, source, () => "")(upstream.send);
    const request = call();
    await send(request);
    await send(request.with({ attempt: 2 }));
    const traceId = "1".padStart(32, "0");
    expect(upstream.requests.map((attempt) => contextOf(attempt).traceparent)).toEqual([
      `00-${traceId}-0000000000000001-03`,
      `00-${traceId}-0000000000000002-03`,
    ]);
    expect(request.trail).toEqual([
      { kind: "trace", traceId, spanId: "0000000000000001" },
      { kind: "trace", traceId, spanId: "0000000000000002" },
    ]);
  });

  test("CONNECT is left alone", async () => {
    const request = call({ method: "CONNECT", path: "api.example:443" });
    expect(await sent(request)).toBe(request);
    expect(request.trail).toEqual([]);
  });
});
