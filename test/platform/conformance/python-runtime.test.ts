/** The bundled Python runtime: what a handler sees, and what the caller sees of it. */
import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { emulate } from "./kit/emulate.ts";

const hasPython = spawnSync("python3", ["--version"]).status === 0;

const start = (
  files: Record<string, string>,
  handler = "app.lambda_handler",
  opt: Record<string, string> = {},
) => emulate({ task: files, opt }, { runtime: "python", handler, timeoutMs: 10_000 });

const FACES = `
import logging, os
def lambda_handler(event, context):
    face = event["face"]
    if face == "context":
        return {
            "name": context.function_name, "version": context.function_version, "memory": context.memory_limit_in_mb,
            "group": context.log_group_name, "id": context.aws_request_id, "arn": context.invoked_function_arn,
            "left": context.get_remaining_time_in_millis(), "custom": context.client_context.custom,
            "trace": os.environ.get("_X_AMZN_TRACE_ID"), "env": os.environ.get("MY_ENV"),
        }
    if face == "raises":
        raise ValueError("bad <order>")
    if face == "set":
        return {1, 2}
    print("printed")
    logging.warning("logged")
`;

describe.skipIf(!hasPython)("a Python handler (needs python3)", () => {
  test("gets event and context, and its errors have the service's shape", async () => {
    await using subject = await start({ "app.py": FACES });
    const invoke = (face: string, context = {}) => subject.emulator.invoke({ face }, context);
    const { payload, requestId, traceId } = await invoke("context", { clientContext: '{"custom":{"a":1}}' });
    expect(JSON.parse(payload.toString())).toEqual({
      name: "function",
      version: "$LATEST",
      memory: "512",
      group: "/aws/lambda/function",
      id: requestId,
      arn: "arn:aws:lambda:eu-west-1:123456789012:function:function",
      left: expect.any(Number),
      custom: { a: 1 },
      trace: traceId,
      env: null,
    });

    const raised = await invoke("raises");
    expect(raised).toMatchObject({ functionError: "Unhandled", status: "error" });
    expect(JSON.parse(raised.payload.toString())).toEqual({
      errorMessage: "bad <order>",
      errorType: "ValueError",
      requestId: raised.requestId,
      stackTrace: [expect.stringContaining("in lambda_handler")],
    });
    expect(raised.logTail).toMatch(/^\[ERROR\] ValueError: bad <order>\rTraceback/m);
    expect(JSON.parse((await invoke("set")).payload.toString())).toMatchObject({
      errorType: "Runtime.MarshalError",
    });

    const logged = await invoke("logs");
    expect(logged.payload.toString()).toBe("null");
    expect(logged.logTail).toMatch(new RegExp(`printed\n\\[WARNING\\]\t.*Z\t${logged.requestId}\tlogged\n`));
  });

  test("is found in a folder, with what layers bring", async () => {
    await using subject = await start(
      { "src/app.py": "import layered\ndef handler(event, context):\n    return layered.value\n" },
      "src/app.handler",
      { "python/layered.py": "value = 'layered'\n" },
    );
    expect((await subject.emulator.invoke("{}")).payload.toString()).toBe('"layered"');
  });

  test.each([
    ["Runtime.ImportModuleError", "nope.handler", {}],
    ["Runtime.ImportModuleError", "app.handler", { "app.py": "import no_such_module\n" }],
    ["Runtime.HandlerNotFound", "app.other", { "app.py": "" }],
    ["Runtime.MalformedHandlerName", "app", { "app.py": "" }],
    ["Runtime.UserCodeSyntaxError", "app.handler", { "app.py": "def (\n" }],
  ])("that cannot be loaded is %s for %s", async (type, handler, files) => {
    await using subject = await start(files as unknown as Record<string, string>, handler);
    expect(await subject.emulator.init).toMatchObject({ status: "error", fatal: { type } });
  });
});
