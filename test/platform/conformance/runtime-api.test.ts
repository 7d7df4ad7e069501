/** The Runtime API: routes, states and misuse, answered as the service and its interface emulator answer. */
import { connect, type Socket } from "node:net";
import { expect, test } from "vitest";
import { refusal, requestIdOf } from "./kit/api.ts";
import { emulate, emulateReady } from "./kit/emulate.ts";

const transition = (from: string, to: string) =>
  refusal(
    "InvalidStateTransition",
    `State transition from ${from} to ${to} failed for runtime. Error: State transition is not allowed`,
  );

test("unknown paths are 404, known paths with another method are 405 with an empty body", async () => {
  await using subject = await emulate();
  const { api } = subject;
  expect(await api.call("POST", "/2018-06-01/runtime/unsupported")).toMatchObject({
    status: 404,
    text: "404 page not found\n",
  });
  expect(await api.call("DELETE", "/2018-06-01/runtime/invocation/ABC/error")).toMatchObject({
    status: 405,
    text: "",
  });
  expect(await api.call("GET", "/2018-06-01/ping")).toMatchObject({ status: 200, text: "pong" });
});

test("the calls of SnapStart do not exist on a function without it", async () => {
  await using subject = await emulate();
  const { api } = subject;
  for (const [method, path] of [
    ["GET", "/2018-06-01/runtime/restore/next"],
    ["POST", "/2018-06-01/runtime/restore/error"],
    ["GET", "/2021-04-23/credentials"],
  ] as const)
    expect(await api.call(method, path)).toMatchObject({ status: 404, text: "404 page not found\n" });
});

test("answers are JSON whatever the client says it accepts", async () => {
  await using subject = await emulateReady();
  const reply = await subject.api.error("x-y-z", { body: "", headers: { Accept: "text/xml" } });
  expect(reply).toMatchObject({ status: 400, text: refusal("InvalidRequestID", "Invalid request ID") });
  expect(reply.headers["content-type"]).toBe("application/json");
});

test("a response and an error are accepted once, for the invocation that runs and no other", async () => {
  await using subject = await emulateReady();
  const { api, emulator } = subject;
  const first = emulator.invoke({ n: 1 });
  const event = await subject.next;
  expect(event.text).toBe('{"n":1}');
  const id = requestIdOf(event);
  for (const call of ["respond", "error"] as const)
    expect(await api[call]("11111111-2222-3333-4444-555555555555")).toMatchObject({
      status: 400,
      text: refusal("InvalidRequestID", "Invalid request ID"),
    });
  expect(await api.respond(id)).toMatchObject({ status: 202, text: '{"status":"OK"}\n' });
  expect(await api.respond(id)).toMatchObject({
    status: 403,
    text: transition("RuntimeResponseSentState", "InvocationResponse"),
  });
  expect(await api.error(id)).toMatchObject({
    status: 403,
    text: transition("RuntimeResponseSentState", "InvocationErrorResponse"),
  });
  const waiting = api.next();
  expect((await first).payload.toString()).toBe("{}");

  const second = emulator.invoke({ n: 2 });
  const failing = requestIdOf(await waiting);
  expect(failing).not.toBe(id);
  expect(await api.respond(id)).toMatchObject({ status: 400 });
  expect(await api.error(failing)).toMatchObject({ status: 202, text: '{"status":"OK"}\n' });
  for (const call of ["respond", "error"] as const)
    expect(await api[call](failing)).toMatchObject({ status: 403 });
  void api.next();
  expect(await second).toMatchObject({ functionError: "Unhandled", status: "error" });
});

test("a runtime that asks twice for the same invocation gets it twice", async () => {
  await using subject = await emulateReady();
  void subject.emulator.invoke("{}");
  const once = await subject.next;
  const twice = await subject.api.next();
  expect(requestIdOf(twice)).toBe(requestIdOf(once));
  expect(twice.text).toBe(once.text);
});

test("an invocation waits for a runtime whose long poll was cut", async () => {
  await using subject = await emulateReady();
  const { api, emulator } = subject;
  const first = emulator.invoke("1");
  const abandoned = requestIdOf(await subject.next);
  await api.respond(abandoned);
  // Opens a long poll and closes it again, so that nobody listens when the next invocation comes.
  const controller = new AbortController();
  const cut = fetch(`http://${emulator.runtimeApi}/2018-06-01/runtime/invocation/next`, {
    signal: controller.signal,
  });
  await first;
  controller.abort();
  await expect(cut).rejects.toThrow();
  const second = emulator.invoke("2");
  const event = await api.next();
  expect(event.text).toBe("2");
  await api.respond(requestIdOf(event), { body: '"late"' });
  void api.next();
  expect((await second).payload.toString()).toBe('"late"');
});

test("next carries every header of the invocation, and leaves out those without a value", async () => {
  await using subject = await emulateReady();
  const { api, emulator } = subject;
  void emulator.invoke("{}", {
    clientContext: '{"custom":{"a":1}}',
    traceId:
      "Root=1-5f35ae12-0c0fec141ab77a00bc047aa2;Parent=2be948a625588e32;Sampled=1;Lineage=1:abcdef12:0",
    qualifier: "live",
    tenantId: "tenant-a",
    cognitoIdentity: { cognitoIdentityId: "id", cognitoIdentityPoolId: "pool" },
  });
  const { headers } = await subject.next;
  expect(headers).toMatchObject({
    "content-type": "application/json",
    "lambda-runtime-aws-request-id": expect.stringMatching(/^[0-9a-f-]{36}$/),
    "lambda-runtime-deadline-ms": expect.stringMatching(/^\d{13}$/),
    "lambda-runtime-invoked-function-arn": "arn:aws:lambda:eu-west-1:123456789012:function:function:live",
    "lambda-runtime-trace-id":
      "Root=1-5f35ae12-0c0fec141ab77a00bc047aa2;Parent=2be948a625588e32;Sampled=1;Lineage=1:abcdef12:0",
    "lambda-runtime-client-context": '{"custom":{"a":1}}',
    "lambda-runtime-cognito-identity": '{"cognitoIdentityId":"id","cognitoIdentityPoolId":"pool"}',
    "lambda-runtime-aws-tenant-id": "tenant-a",
    "lambda-runtime-invocation-id": expect.stringMatching(/^[0-9a-f-]{36}$/),
  });
  await api.respond(headers["lambda-runtime-aws-request-id"] as string);
  const waiting = api.next();
  void emulator.invoke("{}");
  const plain = (await waiting).headers;
  expect(plain["lambda-runtime-trace-id"]).toMatch(
    /^Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=1/,
  );
  for (const absent of ["client-context", "cognito-identity", "aws-tenant-id"])
    expect(plain[`lambda-runtime-${absent}`]).toBeUndefined();
});

test("what does not fit in a header is told in a way that does", async () => {
  await using subject = await emulateReady();
  void subject.emulator.invoke("{}", {
    clientContext: '{\n"custom":{"näme":"\u{1F600}"}}',
    qualifier: "li\r\nve",
    tenantId: "t\u00e9nant\r\nX-Evil: 1",
  });
  const { headers } = await subject.next;
  expect(JSON.parse(headers["lambda-runtime-client-context"] as string)).toEqual({
    custom: { näme: "\u{1F600}" },
  });
  expect(headers["lambda-runtime-invoked-function-arn"]).toMatch(/:live$/);
  expect(headers["lambda-runtime-aws-tenant-id"]).toBe("tnantX-Evil: 1");
  expect(headers["x-evil"]).toBeUndefined();
});

test("a payload over the limit is refused before it runs", async () => {
  await using subject = await emulateReady();
  await expect(subject.emulator.invoke(Buffer.alloc(6_291_557))).rejects.toMatchObject({
    code: "RequestTooLargeException",
  });
});

test("what is no HTTP is answered 400 or dropped, and the emulator goes on", async () => {
  await using subject = await emulateReady();
  const { api } = subject;
  const raw = (bytes: string, end: (socket: Socket) => void) =>
    new Promise<string>((resolve) => {
      const socket = connect(api.port, api.host);
      let text = "";
      socket.on("data", (chunk) => (text += chunk));
      socket.on("error", () => {});
      socket.on("close", () => resolve(text));
      socket.write(bytes, () => end(socket));
    });
  expect(await raw("GARBAGE\r\n\r\n", () => {})).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
  await raw("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n", (socket) =>
    socket.resetAndDestroy(),
  );
  await raw(
    "POST /2018-06-01/runtime/init/error HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf",
    (socket) => socket.resetAndDestroy(),
  );
  expect(await raw(`GET / HTTP/1.1\r\nX: ${"x".repeat(2 ** 21)}\r\n\r\n`, () => {})).toMatch(
    /^HTTP\/1\.1 400|^$/,
  );
  expect(await api.call("GET", "/2018-06-01/ping")).toMatchObject({ status: 200 });
  const invoked = subject.emulator.invoke("{}");
  await api.respond(requestIdOf(await subject.next));
  void api.next();
  expect((await invoked).status).toBe("success");
});

test("an echo of another delivery's invocation id is 410, the right one and none are accepted", async () => {
  await using subject = await emulateReady();
  const { api, emulator } = subject;
  void emulator.invoke("{}");
  const { headers } = await subject.next;
  const id = headers["lambda-runtime-aws-request-id"] as string;
  const echo = (value: string) => ({ body: "{}", headers: { "Lambda-Runtime-Invocation-Id": value } });
  expect(await api.respond(id, echo("another"))).toMatchObject({ status: 410 });
  expect(await api.respond(id, echo(headers["lambda-runtime-invocation-id"] as string))).toMatchObject({
    status: 202,
  });
});

test("init/error is accepted before the first next and refused after it", async () => {
  await using early = await emulate();
  await early.happened("runtime-start");
  expect(await early.api.initError()).toMatchObject({ status: 202, text: '{"status":"OK"}\n' });
  expect(await early.api.next()).toMatchObject({ status: 403, text: transition("InitError", "Ready") });

  await using late = await emulateReady();
  expect(await late.api.initError()).toMatchObject({ status: 403, text: transition("Ready", "InitError") });
});
