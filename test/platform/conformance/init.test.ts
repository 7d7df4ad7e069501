/** The init phase: its order, its limit, and every way in which it can fail. */
import { describe, expect, test } from "vitest";
import { requestIdOf } from "./kit/api.ts";
import { emulate, eventually, exitsWhenTold, INERT, type Subject } from "./kit/emulate.ts";

/** Registers `name` and opens its first long poll. */
async function ready(subject: Subject, name: string, events: string[] = ["INVOKE"]): Promise<string> {
  const id = await subject.api.registered(name, events);
  void subject.api.extensionNext(id);
  return id;
}

describe("the order", () => {
  test("is extensions first, the runtime's process only when all of them have registered", async () => {
    await using subject = await emulate({ extensions: { a: INERT, b: INERT } });
    await ready(subject, "a");
    // An internal extension does not stand in for the external one that is missing.
    await subject.api.registered("internal", ["INVOKE"]);
    expect(subject.count("runtime-start")).toBe(0);
    expect(subject.emulator.runtimePid()).toBeUndefined();
    await ready(subject, "b");
    await subject.happened("runtime-start");
    expect(Object.keys(subject.emulator.extensionPids()).sort()).toEqual(["a", "b"]);
    await eventually(() => subject.emulator.runtimePid());
  });

  test("ends when the runtime and every extension have asked for an event, also one without subscriptions", async () => {
    await using subject = await emulate({ extensions: { a: INERT, b: INERT } });
    await ready(subject, "a");
    const quiet = await subject.api.registered("b", []);
    await subject.happened("runtime-start");
    void subject.api.next();
    await subject.happened("first-next", "runtime");
    expect(subject.count("init-done")).toBe(0);
    void subject.api.extensionNext(quiet);
    const report = await subject.emulator.init;
    expect(report).toMatchObject({ status: "success", phase: "init" });
    expect(report.extensions).toEqual([
      { name: "a", kind: "external", state: "Ready", events: ["INVOKE"] },
      { name: "b", kind: "external", state: "Ready", events: [] },
    ]);
  });

  test("starts every entry that is no folder, and lets folders be", async () => {
    await using subject = await emulate({
      extensions: { a: INERT },
      opt: { "extensions/folder/inner": INERT },
    });
    await subject.happened("spawn", "a");
    expect(subject.count("spawn")).toBe(1);
  });

  test("needs no extension at all", async () => {
    await using subject = await emulate();
    await subject.happened("runtime-start");
    void subject.api.next();
    expect(await subject.emulator.init).toMatchObject({ status: "success", extensions: [] });
  });
});

describe("an extension that cannot be launched", () => {
  test("fails the init as Extension.LaunchError", async () => {
    await using subject = await emulate({ plain: { "opt/extensions/a": INERT } });
    const report = await subject.emulator.init;
    expect(report.status).toBe("error");
    expect(report.fatal!.type).toBe("Extension.LaunchError");
    expect(report.fatal!.message).toMatch(/^fork\/exec .*\/opt\/extensions\/a: permission denied$/);
    expect(report.extensions).toMatchObject([
      { name: "a", state: "LaunchError", errorType: "PermissionDenied" },
    ]);
    expect(subject.count("runtime-start")).toBe(0);
  });

  test("is the eleventh", async () => {
    const names = Array.from({ length: 11 }, (_, i) => `ext-${String(i).padStart(2, "0")}`);
    await using subject = await emulate({
      extensions: Object.fromEntries(names.map((name) => [name, INERT])),
    });
    const report = await subject.emulator.init;
    expect(report.fatal!.type).toBe("Extension.LaunchError");
    expect(report.extensions.at(-1)).toMatchObject({ state: "LaunchError", errorType: "TooManyExtensions" });
  });

  test("has an interpreter that does not exist", async () => {
    await using subject = await emulate({ extensions: { a: "#!/no/such/interpreter\n" } });
    expect((await subject.emulator.init).fatal!.type).toBe("Extension.LaunchError");
  });
});

describe.each([
  { code: 0, message: "exit code 0" },
  { code: 3, message: "exit status 3" },
])("an extension that exits with $code", ({ code, message }) => {
  const crash = { status: "error", fatal: { type: "Extension.Crash", message } };

  test("before it registered", async () => {
    await using subject = await emulate({ extensions: { a: `#!/bin/sh\nexit ${code}\n` } });
    expect(await subject.emulator.init).toMatchObject(crash);
    expect(subject.count("runtime-start")).toBe(0);
  });

  test("after it registered, before its first next", async () => {
    await using subject = await emulate({ extensions: { a: exitsWhenTold("go", code) } });
    await subject.api.registered("a", []);
    await subject.tell("go");
    expect(await subject.emulator.init).toMatchObject(crash);
  });

  test("after its first next, while the runtime still starts", async () => {
    await using subject = await emulate({ extensions: { a: exitsWhenTold("go", code) } });
    await ready(subject, "a");
    await subject.happened("runtime-start");
    await subject.tell("go");
    expect(await subject.emulator.init).toMatchObject(crash);
    // The environment is reset: nothing of it lives on.
    await subject.happened("reset");
    await eventually(() => subject.emulator.runtimePid() === undefined);
  });
});

describe("an error report", () => {
  test("of an extension gives the type, its exit the message", async () => {
    await using subject = await emulate({ extensions: { a: exitsWhenTold("go", 7) } });
    const id = await subject.api.registered("a", []);
    await subject.api.extensionError("init", id, "Extension.NoConfig");
    await subject.tell("go");
    const report = await subject.emulator.init;
    expect(report.fatal).toEqual({ type: "Extension.InitError", message: "exit status 7" });
    expect(report.extensions).toMatchObject([{ state: "InitError", errorType: "Extension.NoConfig" }]);
  });

  test("of an extension that leaves is Extension.ExitError", async () => {
    await using subject = await emulate({ extensions: { a: exitsWhenTold("go", 0) } });
    const id = await subject.api.registered("a", []);
    await subject.api.extensionError("exit", id);
    await subject.tell("go");
    expect((await subject.emulator.init).fatal!.type).toBe("Extension.ExitError");
  });

  test("of the runtime gives the type, its exit the message", async () => {
    await using subject = await emulate({ task: { bootstrap: exitsWhenTold("go", 1) } });
    await subject.happened("runtime-start");
    await subject.api.initError({
      headers: { "Lambda-Runtime-Function-Error-Type": "Runtime.NoSuchModule" },
      body: "{}",
    });
    await subject.tell("go");
    expect((await subject.emulator.init).fatal).toEqual({
      type: "Runtime.NoSuchModule",
      message: "Runtime exited with error: exit status 1",
    });
  });
});

describe("a runtime that exits in the init phase", () => {
  test.each([
    [0, "Runtime exited without providing a reason"],
    [1, "Runtime exited with error: exit status 1"],
  ])("with %i fails it as Runtime.ExitError", async (code, message) => {
    await using subject = await emulate({ task: { bootstrap: `#!/bin/sh\nexit ${code}\n` } });
    expect((await subject.emulator.init).fatal).toEqual({ type: "Runtime.ExitError", message });
  });

  test("by a signal says so", async () => {
    await using subject = await emulate({ task: { bootstrap: "#!/bin/sh\nkill -KILL $$\n" } });
    expect((await subject.emulator.init).fatal!.message).toBe("Runtime exited with error: signal: killed");
  });
});

describe("a custom runtime", () => {
  test("without a bootstrap is Runtime.InvalidEntrypoint, and the invoker hears it", async () => {
    await using subject = await emulate({ plain: { "task/bootstrap": INERT } });
    expect((await subject.emulator.init).fatal).toEqual({
      type: "Runtime.InvalidEntrypoint",
      message: expect.stringMatching(/^fork\/exec .*\/task\/bootstrap: permission denied$/),
    });
    const result = await subject.emulator.invoke("{}");
    expect(JSON.parse(result.payload.toString())).toMatchObject({ errorType: "Runtime.InvalidEntrypoint" });
  });

  test("is looked for in the layers when the function has none", async () => {
    await using subject = await emulate({
      task: { bootstrap: undefined },
      opt: { bootstrap: "#!/bin/sh\necho from the layer\n" },
    });
    await subject.emulator.init;
    expect(subject.logs).toContainEqual({ source: "function", process: "runtime", text: "from the layer" });
  });

  test("that is nowhere is named with every place", async () => {
    await using subject = await emulate({ task: { bootstrap: undefined } });
    expect((await subject.emulator.init).fatal).toEqual({
      type: "Runtime.InvalidEntrypoint",
      message: `Couldn't find valid bootstrap(s): [${subject.root}/task/bootstrap ${subject.root}/opt/bootstrap]`,
    });
  });
});

describe("an init over its limit", () => {
  test("ends as a timeout, and the next invocation tries it anew with extensions started again", async () => {
    await using subject = await emulate({ extensions: { a: INERT } }, { initTimeoutMs: 200 });
    const report = await subject.emulator.init;
    expect(report).toMatchObject({ status: "timeout", phase: "init", extensions: [{ state: "Started" }] });
    const invoked = subject.emulator.invoke("{}");
    await eventually(() => subject.count("spawn", "a") === 2);
    await ready(subject, "a");
    const event = await subject.api.next();
    await subject.api.respond(requestIdOf(event), { body: '"second try"' });
    void subject.api.next();
    const [id] = subject.emulator.timeline.filter(({ kind }) => kind === "register").slice(-1);
    expect(id).toMatchObject({ process: "a" });
    // The extension was told of the invocation and must ask again before it is over.
    expect(subject.count("invoke-done")).toBe(0);
    await subject.emulator.shutdown({ now: true });
    expect((await invoked).payload.toString()).toBe('"second try"');
  });

  test("in an invocation counts against the function timeout", async () => {
    await using subject = await emulate({ extensions: { a: INERT } }, { initTimeoutMs: 100, timeoutMs: 300 });
    expect((await subject.emulator.init).status).toBe("timeout");
    const result = await subject.emulator.invoke("{}");
    expect(result).toMatchObject({ status: "timeout", functionError: "Unhandled", coldStart: true });
    expect(JSON.parse(result.payload.toString())).toEqual({
      errorType: "Sandbox.Timedout",
      errorMessage: `RequestId: ${result.requestId} Error: Task timed out after 0.30 seconds`,
    });
  });
});

test("what init/error says in a retried init is what the invoker gets", async () => {
  await using subject = await emulate({ task: { bootstrap: exitsWhenTold("go", 1) } });
  await subject.happened("runtime-start");
  await subject.api.initError({ body: '{"errorMessage":"first"}' });
  await subject.tell("go");
  expect((await subject.emulator.init).status).toBe("error");
  const invoked = subject.emulator.invoke("{}");
  await eventually(() => subject.count("runtime-start") === 2);
  expect(await subject.api.initError({ body: '{"errorMessage":"second"}' })).toMatchObject({ status: 202 });
  await subject.tell("go");
  expect(await invoked).toMatchObject({ functionError: "Unhandled", status: "error" });
  expect((await invoked).payload.toString()).toBe('{"errorMessage":"second"}');
});
