/** What a runtime may send: limits, truncation, streaming with trailers, error bodies and causes. */
import { connect } from "node:net";
import { describe, expect, test } from "vitest";
import { PAYLOAD_BYTES_MAX } from "../../../adapters/local/answers.ts";
import { ERROR_CAUSE_BYTES_MAX, errorCauseJson } from "../../../adapters/local/error-cause.ts";
import { knownErrorType } from "../../../adapters/local/invocation.ts";
import type { InvokeResult } from "../../../adapters/local/invoke-result.ts";
import { type Api, type Content, type Reply, refusal, requestIdOf } from "./kit/api.ts";
import { emulateReady } from "./kit/emulate.ts";

/** Invokes once, answers with `act`, and lets the invocation end. */
async function invokeAnd(
  act: (api: Api, requestId: string) => Promise<Reply>,
): Promise<{ reply: Reply; result: InvokeResult }> {
  await using subject = await emulateReady();
  const result = subject.emulator.invoke("{}");
  const reply = await act(subject.api, requestIdOf(await subject.next));
  void subject.api.next();
  return { reply, result: await result };
}

const responding = (content: Content) => invokeAnd((api, id) => api.respond(id, content));
const failing = (content: Content) => invokeAnd((api, id) => api.error(id, content));

describe("the payload limit", () => {
  test("is 6 291 556 bytes, and a response of exactly that passes", async () => {
    expect(PAYLOAD_BYTES_MAX).toBe(6_291_556);
    const { reply, result } = await responding({ body: Buffer.alloc(PAYLOAD_BYTES_MAX, "a") });
    expect(reply.status).toBe(202);
    expect(result.payload.length).toBe(PAYLOAD_BYTES_MAX);
    expect(result.functionError).toBeUndefined();
  });

  test("refuses one byte more, and tells the caller how large it was", async () => {
    const { reply, result } = await responding({ body: Buffer.alloc(PAYLOAD_BYTES_MAX + 1) });
    expect(reply).toMatchObject({
      status: 413,
      text: refusal("RequestEntityTooLarge", "Exceeded maximum allowed payload size (6291556 bytes)."),
    });
    expect(result.functionError).toBe("Unhandled");
    expect(result.payload.toString()).toBe(
      '{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size (6291557 bytes) exceeded maximum allowed payload size (6291556 bytes)."}',
    );
  });

  test("stops reading a body without end, answers, and goes on", async () => {
    await using subject = await emulateReady();
    const result = subject.emulator.invoke("{}");
    const id = requestIdOf(await subject.next);
    const socket = connect(subject.api.port, subject.api.host);
    socket.on("error", () => {});
    socket.write(
      `POST /2018-06-01/runtime/invocation/${id}/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`,
    );
    const chunk = Buffer.concat([Buffer.from("100000\r\n"), Buffer.alloc(0x100000), Buffer.from("\r\n")]);
    const pump = () => {
      while (socket.writable && socket.write(chunk));
      if (socket.writable) socket.once("drain", pump);
    };
    pump();
    await new Promise((resolve) => socket.once("close", resolve));
    void subject.api.next();
    expect((await result).errorType).toBe("Function.ResponseSizeTooLarge");
    expect(await subject.api.call("GET", "/2018-06-01/ping")).toMatchObject({ status: 200 });
  });
});

test("a response whose body was cut is 400, and the caller hears of it", async () => {
  const { reply, result } = await invokeAnd(
    (api, id) =>
      new Promise((resolve) => {
        const socket = connect({ host: api.host, port: api.port, allowHalfOpen: true });
        let text = "";
        socket.on("data", (chunk) => (text += chunk));
        socket.on("end", () => {
          socket.end();
          const [head = "", body = ""] = text.split("\r\n\r\n");
          resolve({ status: Number(head.split(" ")[1]), headers: {}, text: body });
        });
        socket.end(
          `POST /2018-06-01/runtime/invocation/${id}/response HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf`,
        );
      }),
  );
  expect(reply).toMatchObject({
    status: 400,
    text: refusal("TruncatedHTTPRequest", "HTTP request detected as truncated"),
  });
  expect(result.errorType).toBe("Runtime.TruncatedResponse");
  expect(JSON.parse(result.payload.toString())).toEqual({
    errorType: "Runtime.TruncatedResponse",
    errorMessage: `RequestId: ${result.requestId} Error: HTTP request detected as truncated`,
  });
});

describe("a streamed response", () => {
  const streaming = { "Lambda-Runtime-Function-Response-Mode": "streaming" };

  test("reaches the caller whole, empty trailers meaning success", async () => {
    const { reply, result } = await responding({
      headers: { ...streaming, "Content-Type": "application/vnd.awslambda.http-integration-response" },
      body: '{"statusCode":200}\0\0\0\0\0\0\0\0body',
      trailers: { "Lambda-Runtime-Function-Error-Type": "", "Lambda-Runtime-Function-Error-Body": "" },
    });
    expect(reply.status).toBe(202);
    expect(result).toMatchObject({
      status: "success",
      contentType: "application/vnd.awslambda.http-integration-response",
    });
    expect(result.payload.toString()).toBe('{"statusCode":200}\0\0\0\0\0\0\0\0body');
  });

  test("that failed halfway is an error, with the body of the trailer", async () => {
    const error = '{"errorMessage":"midway","errorType":"Function.Broken"}';
    const { reply, result } = await responding({
      headers: streaming,
      body: "half of it",
      trailers: {
        "Lambda-Runtime-Function-Error-Type": "Function.Broken",
        "Lambda-Runtime-Function-Error-Body": Buffer.from(error).toString("base64"),
      },
    });
    expect(reply.status).toBe(202);
    expect(result).toMatchObject({
      functionError: "Unhandled",
      errorType: "Function.Broken",
      status: "error",
    });
    expect(result.payload.toString()).toBe(error);
  });

  test("in a mode that does not exist is 400 and fails the invocation", async () => {
    await using subject = await emulateReady();
    // The caller's answer leaves before the invocation is over, which only a caller over HTTP can see.
    const answered = fetch(subject.emulator.invokeUrl, { method: "POST", body: "{}" });
    const id = requestIdOf(await subject.next);
    const reply = await subject.api.respond(id, {
      headers: { "Lambda-Runtime-Function-Response-Mode": "foo" },
      body: "{}",
    });
    expect(reply).toMatchObject({
      status: 400,
      text: refusal("InvalidFunctionResponseMode", "Invalid function response mode"),
    });
    expect((await answered).headers.get("x-amz-function-error")).toBe("Unhandled");
    // The runtime is stuck in its response, as on the platform: it must restart.
    expect(await subject.api.next()).toMatchObject({ status: 403 });
  });
});

describe("an error", () => {
  test("reaches the caller with the body that the runtime sent, byte for byte", async () => {
    const { reply, result } = await failing({
      body: "My byte array is yours",
      headers: {
        "Content-Type": "application/MyBinaryType",
        "Lambda-runtime-functioN-erroR-typE": "ErrorType",
      },
    });
    expect(reply).toMatchObject({ status: 202, text: '{"status":"OK"}\n' });
    expect(result.payload.toString()).toBe("My byte array is yours");
    expect(result).toMatchObject({
      contentType: "application/MyBinaryType",
      functionError: "Unhandled",
      errorType: "Runtime.Unknown",
    });
  });

  test.each([
    ["", "Runtime.Unknown"],
    ["MyCustomError", "Runtime.Unknown"],
    ["MyCustomError.Error", "Runtime.Unknown"],
    ["Runtime.MyCustomErrorTypeHere", "Runtime.MyCustomErrorTypeHere"],
    ["Function.MyCustomErrorTypeHere", "Function.MyCustomErrorTypeHere"],
    ["Function.lower", "Function.Unknown"],
    ["Runtime.lower", "Runtime.Unknown"],
    ["a prefix is kept: Function.Broken", "a prefix is kept: Function.Broken"],
    [undefined, "Runtime.Unknown"],
  ])("of type %s is classified as %s", (said, known) => {
    expect(knownErrorType(said)).toBe(known);
  });

  test("with a cause in its body keeps the cause from the caller", async () => {
    const { result } = await failing({
      headers: { "Content-Type": "application/vnd.aws.lambda.error.cause+json" },
      body: JSON.stringify({
        errorMessage: "foo",
        errorType: "bar",
        stackTrace: ["at x"],
        errorCause: { working_directory: "/foo", exceptions: [], paths: [] },
      }),
    });
    expect(result.payload.toString()).toBe('{"errorMessage":"foo","errorType":"bar","stackTrace":["at x"]}');
    expect(result.contentType).toBe("application/json");
    expect(JSON.parse(result.errorCause!)).toEqual({ working_directory: "/foo", exceptions: [], paths: [] });
  });

  test("with a cause and a body that is no JSON is reported as such", async () => {
    const { result } = await failing({
      headers: { "Content-Type": "application/vnd.aws.lambda.error.cause+json" },
      body: "not json",
    });
    expect(result.payload.toString()).toBe('"Invalid error body"');
    expect(result.contentType).toBe("application/octet-stream");
    expect(result.errorCause).toBeUndefined();
  });

  test("may carry a cause of a megabyte in a header, which is cut to 64 KiB", async () => {
    const paths = Array.from({ length: 20_000 }, (_, i) => `/path/number/${i}/of/many/files`);
    const header = JSON.stringify({ paths, working_directory: "/w", exceptions: [] });
    expect(header.length).toBeGreaterThan(600_000);
    const { reply, result } = await failing({
      headers: { "Lambda-Runtime-Function-XRay-Error-Cause": header },
    });
    expect(reply.status).toBe(202);
    expect(JSON.parse(result.errorCause!)).toEqual({
      exceptions: null,
      paths: null,
      working_directory: "/w",
    });
  });
});

describe("an error cause", () => {
  test.each([
    [
      '{"paths":[],"working_directory":"/","exceptions":[]}',
      '{"exceptions":[],"working_directory":"/","paths":[]}',
    ],
    ['{"paths":["f"]}', '{"exceptions":null,"working_directory":"","paths":["f"]}'],
    ['{"exceptions":[{}],"arbitrary":"field"}', '{"exceptions":[{}],"working_directory":"","paths":null}'],
    ['{"message":"foo"}', '{"exceptions":null,"working_directory":"","paths":null,"message":"foo"}'],
  ])("%s is valid", (given, normal) => {
    expect(errorCauseJson(given)).toBe(normal);
  });

  test.each([
    '{"paths":[],"working_directory":"","exceptions":[]}',
    '{"paths":"","working_directory":"","exceptions":[]}',
    '{"working_directory":[]}',
    '{"exceptions":["text"]}',
    "{foo: invalid}",
    "{}",
    '""',
    "null",
    '{"arbitrary":"field"}',
  ])("%s is not", (given) => {
    expect(errorCauseJson(given)).toBeUndefined();
  });

  test.each([
    [100, 100],
    [5_000, 4_000],
    [8_000, 4_800],
    [12_000, 4_800],
  ])("of %i exceptions keeps the largest share that fits", (length, most) => {
    const cut = errorCauseJson(
      JSON.stringify({ exceptions: Array.from({ length }, () => ({ message: "a" })) }),
    )!;
    expect(cut.length).toBeLessThanOrEqual(ERROR_CAUSE_BYTES_MAX);
    const kept = JSON.parse(cut).exceptions.length;
    expect(kept).toBeLessThanOrEqual(most);
    expect([1, 0.8, 0.6, 0.4, 0.2].map((share) => Math.trunc(length * share))).toContain(kept);
  });

  test("of long texts keeps the beginning of each", () => {
    const cut = errorCauseJson(
      JSON.stringify({ message: "é".repeat(100_000), working_directory: "b".repeat(100_000) }),
    )!;
    const { message, working_directory: directory } = JSON.parse(cut);
    expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(ERROR_CAUSE_BYTES_MAX);
    expect(directory).toBe(`${"b".repeat(30_717)}...`);
    expect(message).toMatch(/^é+\.\.\.$/);
  });
});
