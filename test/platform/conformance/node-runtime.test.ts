/** The bundled Node runtime: what a handler sees, and what the caller sees of it. */
import { describe, expect, test } from "vitest";
import { emulate, type Subject } from "./kit/emulate.ts";

const start = (files: Record<string, string>, options: object = {}) =>
  emulate({ task: files }, { runtime: "node", handler: "index.handler", ...options });

const json = async (subject: Subject, event: unknown, context = {}) =>
  JSON.parse((await subject.emulator.invoke(event, context)).payload.toString());

/** One function with many faces: starting Node costs more than everything else here. */
const FACES = `
let calls = 0;
console.log("loaded");
const faces = {
  context: (event, context) => ({ ...context, left: context.getRemainingTimeInMillis(), trace: process.env._X_AMZN_TRACE_ID }),
  count: () => ++calls,
  nothing: () => undefined,
  throws: () => { throw new TypeError("bad <order>"); },
  throwsText: () => { throw "just text"; },
  rejects: async () => { throw Object.assign(new Error("late"), { name: "Function.Late" }); },
  cyclic: () => { const it = {}; it.it = it; return it; },
  logs: () => { console.warn("two\\nlines", { a: 1 }); return null; },
  env: ({ name }) => process.env[name] ?? null,
};
export const handler = async (event, context) => faces[event.face](event, context);
`;

test("a handler gets event and context, keeps its state, and its errors have the service's shape", async () => {
  await using subject = await start(
    { "index.mjs": FACES },
    { timeoutMs: 10_000, memoryMb: 256, functionName: "orders" },
  );
  const traceId =
    "Root=1-5f35ae12-0c0fec141ab77a00bc047aa2;Parent=2be948a625588e32;Sampled=0;Lineage=1:abcdef12:0";
  const seen = await json(
    subject,
    { face: "context" },
    { traceId, qualifier: "live", clientContext: '{"custom":{"a":1}}', tenantId: "t" },
  );
  expect(seen).toMatchObject({
    functionName: "orders",
    functionVersion: "$LATEST",
    memoryLimitInMB: "256",
    logGroupName: "/aws/lambda/orders",
    logStreamName: expect.any(String),
    invokedFunctionArn: "arn:aws:lambda:eu-west-1:123456789012:function:orders:live",
    awsRequestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
    clientContext: { custom: { a: 1 } },
    tenantId: "t",
    trace: traceId,
  });
  expect(seen.left).toBeGreaterThan(5_000);
  expect(seen.left).toBeLessThanOrEqual(10_000);
  expect([await json(subject, { face: "count" }), await json(subject, { face: "count" })]).toEqual([1, 2]);
  expect(await json(subject, { face: "nothing" })).toBeNull();

  const thrown = await subject.emulator.invoke({ face: "throws" });
  expect(thrown).toMatchObject({
    functionError: "Unhandled",
    status: "error",
    contentType: "application/json",
  });
  expect(JSON.parse(thrown.payload.toString())).toEqual({
    errorType: "TypeError",
    errorMessage: "bad <order>",
    trace: expect.arrayContaining(["TypeError: bad <order>"]),
  });
  expect(thrown.logTail).toMatch(/\tERROR\tInvoke Error {2}\{"errorType":"TypeError"/);
  expect(await json(subject, { face: "throwsText" })).toMatchObject({
    errorType: "string",
    errorMessage: "just text",
  });
  const typed = await subject.emulator.invoke({ face: "rejects" });
  expect(typed.errorType).toBe("Function.Late");
  expect(await json(subject, { face: "cyclic" })).toMatchObject({
    errorType: "Runtime.UnserializableResponse",
  });

  const { logTail, requestId } = await subject.emulator.invoke({ face: "logs" });
  expect(logTail).toMatch(new RegExp(`^\\d{4}-.*Z\t${requestId}\tWARN\ttwo\rlines \\{ a: 1 \\}$`, "m"));
  expect(logTail).toMatch(/^START RequestId: .* Version: \$LATEST\n/);
  expect(logTail).toMatch(/REPORT RequestId: .*\tBilled Duration: \d+ ms\tMemory Size: 256 MB\t/);
  expect(await json(subject, { face: "env", name: "AWS_EXECUTION_ENV" })).toMatch(
    /^AWS_Lambda_nodejs\d+\.x$/,
  );
  expect(subject.logs[0]!.text).toMatch(/\tINFO\tloaded$/);
});

describe("a handler is found", () => {
  test.each([
    ["in an ES module", "index.handler", { "index.mjs": "export const handler = async () => 'esm';" }, "esm"],
    ["in CommonJS", "index.handler", { "index.js": "exports.handler = async () => 'cjs';" }, "cjs"],
    [
      "in CommonJS whose exports are computed",
      "index.handler",
      { "index.cjs": "module.exports = Object.assign({}, { ['hand' + 'ler']: async () => 'computed' });" },
      "computed",
    ],
    [
      "in a folder, on a nested export",
      "src/app.api.get",
      { "src/app.mjs": "export const api = { get: async () => 'nested' };" },
      "nested",
    ],
    [
      "in a package of type module",
      "index.handler",
      { "package.json": '{"type":"module"}', "index.js": "export const handler = async () => 'typed';" },
      "typed",
    ],
  ])("%s", async (_, handler, files, expected) => {
    await using subject = await start(files as unknown as Record<string, string>, { handler });
    expect(await json(subject, {})).toBe(expected);
  });

  test("with what layers bring on NODE_PATH", async () => {
    await using subject = await emulate(
      {
        task: { "index.js": "exports.handler = async () => require('from-layer');" },
        opt: { "nodejs/node_modules/from-layer/index.js": "module.exports = 'layered';" },
      },
      { runtime: "node", handler: "index.handler" },
    );
    expect(await json(subject, {})).toBe("layered");
  });
});

describe("a handler that cannot be loaded", () => {
  test.each([
    ["Runtime.ImportModuleError", "nope.handler", {}],
    ["Runtime.ImportModuleError", "index.handler", { "index.mjs": "import 'no-such-package';" }],
    ["Runtime.HandlerNotFound", "index.other", { "index.mjs": "export const handler = 1;" }],
    ["Runtime.HandlerNotFound", "index.handler", { "index.mjs": "export const handler = 1;" }],
    ["Runtime.MalformedHandlerName", "index", { "index.mjs": "" }],
    ["Runtime.UserCodeSyntaxError", "index.handler", { "index.mjs": "export const = 1;" }],
    [
      "Runtime.CallbackHandlerDeprecated",
      "index.handler",
      { "index.mjs": "export const handler = (e, c, done) => done();" },
    ],
  ])("is %s for %s", async (type, handler, files) => {
    await using subject = await start(files as unknown as Record<string, string>, { handler });
    const report = await subject.emulator.init;
    expect(report).toMatchObject({ status: "error", fatal: { type } });
    expect(subject.logs.some(({ text }) => text.startsWith("INIT_REPORT") && text.includes(type))).toBe(true);
  });

  test("throws while it is loaded: the invoker gets its own words", async () => {
    await using subject = await start({ "index.mjs": "throw new RangeError('at load');" });
    expect(await json(subject, {})).toMatchObject({ errorType: "RangeError", errorMessage: "at load" });
  });
});

describe("a process that ends", () => {
  test.each([
    [
      "an uncaught exception",
      "setTimeout(() => { throw new RangeError('out') }); return new Promise(() => {});",
      "RangeError",
    ],
    [
      "an unhandled rejection",
      "Promise.reject(new Error('lost')); return new Promise(() => {});",
      "Runtime.UnhandledPromiseRejection",
    ],
    ["a promise that nothing can settle", "return new Promise(() => {});", "Runtime.NodeJsExit"],
    ["process.exit", "process.exit(4);", "Runtime.ExitError"],
  ])("by %s is reported to the invoker, and the next invocation starts anew", async (_, body, type) => {
    const code = `export const handler = async (event) => { if (event.die) { ${body} } return "alive"; };`;
    await using subject = await start({ "index.mjs": code });
    expect(await json(subject, { die: true })).toMatchObject({ errorType: type });
    expect(await json(subject, {})).toBe("alive");
  });
});

describe("a streaming handler", () => {
  const STREAMING = `
export const handler = awslambda.streamifyResponse(async (event, stream, context) => {
  if (event.early) throw new Error("early");
  if (event.http) stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201, headers: { a: "b" } });
  else stream.setContentType("text/plain");
  stream.write("one,");
  if (event.late) throw new TypeError("late");
  for (let i = 0; i < (event.chunks ?? 0); i++) if (!stream.write("x".repeat(65536))) await new Promise((go) => stream.once("drain", go));
  stream.end("two");
});
`;

  test("streams, with a prelude, with backpressure, and fails before or after its first byte", async () => {
    await using subject = await start({ "index.mjs": STREAMING });
    const plain = await subject.emulator.invoke({});
    expect(plain).toMatchObject({ status: "success", contentType: "text/plain" });
    expect(plain.payload.toString()).toBe("one,two");
    const http = await subject.emulator.invoke({ http: true });
    expect(http.contentType).toBe("application/vnd.awslambda.http-integration-response");
    expect(http.payload.toString()).toBe('{"statusCode":201,"headers":{"a":"b"}}\0\0\0\0\0\0\0\0one,two');
    expect((await subject.emulator.invoke({ chunks: 64 })).payload.length).toBe(64 * 65_536 + 7);
    for (const [when, errorType] of [
      ["early", "Error"],
      ["late", "TypeError"],
    ] as const) {
      const failed = await subject.emulator.invoke({ [when]: true });
      expect(failed.functionError).toBe("Unhandled");
      expect(JSON.parse(failed.payload.toString())).toMatchObject({ errorType, errorMessage: when });
    }
    expect((await subject.emulator.invoke({})).payload.toString()).toBe("one,two");
  });
});

test("JSON logging writes one object an entry", async () => {
  const code =
    "export const handler = async () => { console.info({ order: 7 }); console.error(new Error('x').message); };";
  await using subject = await start({ "index.mjs": code }, { logFormat: "JSON" });
  const { requestId } = await subject.emulator.invoke("{}");
  const entries = subject.logs
    .filter(({ source }) => source === "function")
    .map(({ text }) => JSON.parse(text));
  expect(entries).toEqual([
    { timestamp: expect.any(String), level: "INFO", requestId, message: { order: 7 } },
    { timestamp: expect.any(String), level: "ERROR", requestId, message: "x" },
  ]);
});
