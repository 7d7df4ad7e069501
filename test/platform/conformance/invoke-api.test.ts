/** The Invoke endpoint, as `curl` and an AWS SDK use it. */
import { describe, expect, test } from "vitest";
import { PAYLOAD_BYTES_MAX } from "../../../adapters/local/answers.ts";
import { Api, type Content, type Reply, requestIdOf } from "./kit/api.ts";
import { emulateReady, type Subject } from "./kit/emulate.ts";

const PATH = "/2015-03-31/functions/function/invocations";

const endpoint = (subject: Subject) => new Api(subject.emulator.endpoint.replace("http://", ""));

/** Answers every invocation with the text of its event, until the emulator ends. */
function echoing(subject: Subject & { next: Promise<Reply> }): Subject {
  const answer = async (event: Reply): Promise<void> => {
    await subject.api.respond(requestIdOf(event), {
      body: event.text,
      headers: { "Content-Type": "application/json" },
    });
    return answer(await subject.api.next());
  };
  void subject.next.then(answer).catch(() => {});
  return subject;
}

const post = (subject: Subject, content: Content = {}, path = PATH) =>
  endpoint(subject).call("POST", path, content);

test("an invocation is answered with payload, version, request id and trace id", async () => {
  await using subject = await emulateReady();
  echoing(subject);
  const reply = await post(subject, { body: '{"a":1}' });
  expect(reply).toMatchObject({ status: 200, text: '{"a":1}' });
  expect(reply.headers).toMatchObject({
    "content-type": "application/json",
    "x-amz-executed-version": "$LATEST",
    "x-amzn-requestid": expect.stringMatching(/^[0-9a-f-]{36}$/),
    "x-amzn-trace-id": expect.stringMatching(/^Root=1-/),
  });
  expect(reply.headers["x-amz-function-error"]).toBeUndefined();
  expect(reply.headers["x-amz-log-result"]).toBeUndefined();
});

test("no payload is an empty object, and the headers of a call reach the runtime", async () => {
  await using subject = await emulateReady();
  const invoked = post(
    subject,
    {
      headers: {
        "X-Amz-Client-Context": Buffer.from('{"custom":\n{"a":1}}').toString("base64"),
        "X-Amzn-Trace-Id": "Root=1-5f35ae12-0c0fec141ab77a00bc047aa2;Sampled=0",
        "X-Amz-Tenant-Id": "tenant",
      },
    },
    `${PATH}?Qualifier=live`,
  );
  const event = await subject.next;
  expect(event.text).toBe("{}");
  expect(event.headers).toMatchObject({
    "lambda-runtime-client-context": '{"custom": {"a":1}}',
    "lambda-runtime-trace-id": expect.stringMatching(
      /^Root=1-5f35ae12-0c0fec141ab77a00bc047aa2;Parent=[0-9a-f]{16};Sampled=0$/,
    ),
    "lambda-runtime-aws-tenant-id": "tenant",
    "lambda-runtime-invoked-function-arn": expect.stringMatching(/:function:live$/),
  });
  await subject.api.respond(requestIdOf(event));
  expect((await invoked).status).toBe(200);
});

test("a function error is a 200 with its header", async () => {
  await using subject = await emulateReady();
  const invoked = post(subject, { body: "{}" });
  await subject.api.error(requestIdOf(await subject.next), { body: '{"errorType":"X"}' });
  const reply = await invoked;
  expect(reply).toMatchObject({ status: 200, text: '{"errorType":"X"}' });
  expect(reply.headers["x-amz-function-error"]).toBe("Unhandled");
});

test("a timeout is a 200 with the payload of the managed service", async () => {
  await using subject = await emulateReady({}, { timeoutMs: 150 });
  const reply = await post(subject, { body: "{}" });
  expect(reply.status).toBe(200);
  expect(reply.headers["x-amz-function-error"]).toBe("Unhandled");
  expect(JSON.parse(reply.text)).toEqual({
    errorType: "Sandbox.Timedout",
    errorMessage: `RequestId: ${reply.headers["x-amzn-requestid"]} Error: Task timed out after 0.15 seconds`,
  });
});

test("the tail of the log comes when asked for, and ends with the report", async () => {
  await using subject = await emulateReady();
  echoing(subject);
  const reply = await post(subject, { body: "{}", headers: { "X-Amz-Log-Type": "Tail" } });
  const log = Buffer.from(reply.headers["x-amz-log-result"] as string, "base64").toString();
  expect(log).toMatch(
    /^START RequestId: .*\nEND RequestId: .*\nREPORT RequestId: .*\tInit Duration: .* ms\n$/,
  );
});

test("an event is accepted before it runs, and a dry run does not run at all", async () => {
  await using subject = await emulateReady();
  const dry = await post(subject, { body: "{}", headers: { "X-Amz-Invocation-Type": "DryRun" } });
  expect(dry).toMatchObject({ status: 204, text: "" });
  const accepted = await post(subject, { body: '"async"', headers: { "X-Amz-Invocation-Type": "Event" } });
  expect(accepted).toMatchObject({ status: 202, text: "" });
  expect(accepted.headers["x-amzn-requestid"]).toMatch(/^[0-9a-f-]{36}$/);
  const event = await subject.next;
  expect(event.text).toBe('"async"');
  expect(requestIdOf(event)).toBe(accepted.headers["x-amzn-requestid"]);
});

test("a queue that is full is 429", async () => {
  await using subject = await emulateReady({}, { queueMax: 0 });
  void subject.emulator.invoke("{}");
  const reply = await post(subject, { body: "{}" });
  expect(reply.status).toBe(429);
  expect(reply.headers["x-amzn-errortype"]).toBe("TooManyRequestsException");
  expect(JSON.parse(reply.text)).toEqual({
    Reason: "ReservedFunctionConcurrentInvocationLimitExceeded",
    Type: "User",
    message: "Rate Exceeded.",
  });
});

describe("a call that is wrong", () => {
  test.each<[string, string, Content, number, string, RegExp]>([
    [
      "an unknown function",
      PATH.replace("/function/", "/other/"),
      {},
      404,
      "ResourceNotFoundException",
      /Function not found: arn:aws:lambda:eu-west-1:123456789012:function:other/,
    ],
    [
      "an invocation type that does not exist",
      PATH,
      { headers: { "X-Amz-Invocation-Type": "Soon" } },
      400,
      "InvalidParameterValueException",
      /Soon/,
    ],
    [
      "a payload that is no JSON",
      PATH,
      { body: "{" },
      400,
      "InvalidRequestContentException",
      /Could not parse request body into json/,
    ],
    [
      "a client context that is no JSON",
      PATH,
      { headers: { "X-Amz-Client-Context": "!!" } },
      400,
      "InvalidRequestContentException",
      /client-context/i,
    ],
    [
      "a payload over the limit",
      PATH,
      { body: Buffer.alloc(PAYLOAD_BYTES_MAX + 1, "1") },
      413,
      "RequestTooLargeException",
      /smaller than 6291556 bytes/,
    ],
    [
      "an event over its limit",
      PATH,
      { body: Buffer.alloc(1024 * 1024 + 1, "1"), headers: { "X-Amz-Invocation-Type": "Event" } },
      413,
      "RequestTooLargeException",
      /smaller than 1048576 bytes/,
    ],
    [
      "a host of the outside world",
      PATH,
      { headers: { Host: "attacker.example" } },
      403,
      "AccessDeniedException",
      /attacker\.example/,
    ],
  ])("%s", async (_, path, content, status, type, message) => {
    await using subject = await emulateReady();
    const reply = await post(subject, content, path);
    expect(reply.status).toBe(status);
    expect(reply.headers["x-amzn-errortype"]).toBe(type);
    expect(JSON.parse(reply.text).message).toMatch(message);
    expect(subject.count("invoke-start")).toBe(0);
  });

  test("a path or a method that does not exist", async () => {
    await using subject = await emulateReady();
    expect((await post(subject, {}, "/2015-03-31/functions")).status).toBe(404);
    expect((await endpoint(subject).call("GET", PATH)).status).toBe(405);
  });
});

test.each([
  "orders",
  "function",
  "orders:live",
  encodeURIComponent("arn:aws:lambda:eu-west-1:123456789012:function:orders"),
  encodeURIComponent("123456789012:function:orders:live"),
])("the function goes by the name %s", async (name) => {
  await using subject = await emulateReady({}, { functionName: "orders" });
  echoing(subject);
  expect((await post(subject, { body: "1" }, `/2015-03-31/functions/${name}/invocations`)).text).toBe("1");
});

test("a caller who leaves does not end the invocation", async () => {
  await using subject = await emulateReady();
  const controller = new AbortController();
  const gone = fetch(subject.emulator.invokeUrl, { method: "POST", body: "{}", signal: controller.signal });
  const event = await subject.next;
  controller.abort();
  await expect(gone).rejects.toThrow();
  expect(await subject.api.respond(requestIdOf(event))).toMatchObject({ status: 202 });
  void subject.api.next();
  await subject.happened("invoke-done");
});
