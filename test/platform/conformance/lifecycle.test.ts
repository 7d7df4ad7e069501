/** One invocation after another: what ends one, what is frozen in between, and what happens when somebody dies. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { requestIdOf } from "./kit/api.ts";
import { emulate, emulateReady, eventually, exitsWhenTold, INERT, type Subject } from "./kit/emulate.ts";

/** An emulator whose init is over; the extensions and the runtime wait, and the test speaks for all of them. */
async function emulateAll(
  extensions: Record<string, { script?: string; events: string[] }>,
  options: Parameters<typeof emulate>[1] = {},
) {
  const scripts = Object.entries(extensions).map(([name, { script = INERT }]) => [name, script]);
  const subject = await emulate({ extensions: Object.fromEntries(scripts) }, options);
  const polls: Record<string, { id: string; next: ReturnType<Subject["api"]["next"]> }> = {};
  for (const [name, { events }] of Object.entries(extensions)) {
    const id = await subject.api.registered(name, events);
    polls[name] = { id, next: subject.api.extensionNext(id) };
  }
  await subject.happened("runtime-start");
  const next = subject.api.next();
  expect((await subject.emulator.init).status).toBe("success");
  return Object.assign(subject, { polls, next });
}

describe("the INVOKE event", () => {
  test("says the same as the headers of next", async () => {
    await using subject = await emulateAll({ a: { events: ["INVOKE"] } });
    void subject.emulator.invoke("{}", { qualifier: "live" });
    const { headers } = await subject.next;
    const event = await subject.polls.a!.next;
    expect(event.headers["lambda-extension-event-identifier"]).toMatch(/^[0-9a-f-]{36}$/);
    expect(JSON.parse(event.text)).toEqual({
      eventType: "INVOKE",
      deadlineMs: Number(headers["lambda-runtime-deadline-ms"]),
      requestId: headers["lambda-runtime-aws-request-id"],
      invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
      tracing: { type: "X-Amzn-Trace-Id", value: headers["lambda-runtime-trace-id"] },
    });
  });

  test("goes to its subscribers and to nobody else", async () => {
    await using subject = await emulateAll({
      subscribed: { events: ["INVOKE"] },
      indifferent: { events: ["SHUTDOWN"] },
      silent: { events: [] },
    });
    const invoked = subject.emulator.invoke("{}");
    await subject.polls.subscribed!.next;
    void subject.api.extensionNext(subject.polls.subscribed!.id);
    await subject.api.respond(requestIdOf(await subject.next));
    void subject.api.next();
    // It ends although two of the three have not moved, so they were not waited for.
    expect((await invoked).status).toBe("success");
    const end = subject.emulator.shutdown();
    expect(JSON.parse((await subject.polls.indifferent!.next).text).eventType).toBe("SHUTDOWN");
    await expect(subject.polls.silent!.next).rejects.toThrow();
    await end;
  });
});

describe("an invocation", () => {
  test("answers the caller at once, and ends when runtime and extensions have asked for the next event", async () => {
    await using subject = await emulateAll({ a: { events: ["INVOKE"] } });
    const answered = fetch(subject.emulator.invokeUrl, { method: "POST", body: "{}" });
    await subject.api.respond(requestIdOf(await subject.next), { body: '"early"' });
    expect(await (await answered).text()).toBe('"early"');
    expect(subject.count("invoke-done")).toBe(0);
    void subject.api.next();
    await eventually(() => subject.count("next", "runtime") === 1);
    expect(subject.count("invoke-done")).toBe(0);
    await subject.polls.a!.next;
    void subject.api.extensionNext(subject.polls.a!.id);
    await subject.happened("invoke-done");
  });

  test("of a runtime that never answers times out, and the environment is reset for the next one", async () => {
    await using subject = await emulateReady({}, { timeoutMs: 200 });
    const pid = subject.emulator.runtimePid();
    const result = await subject.emulator.invoke("{}");
    expect(result).toMatchObject({
      status: "timeout",
      functionError: "Unhandled",
      errorType: "Sandbox.Timedout",
    });
    expect(JSON.parse(result.payload.toString()).errorMessage).toBe(
      `RequestId: ${result.requestId} Error: Task timed out after 0.20 seconds`,
    );
    expect(result.logTail).toContain(`${result.requestId} Task timed out after 0.20 seconds`);
    expect(subject.emulator.timeline).toContainEqual(
      expect.objectContaining({ kind: "reset", detail: "timeout" }),
    );
    expect(subject.emulator.runtimePid()).toBeUndefined();
    const again = subject.emulator.invoke("{}");
    await eventually(() => subject.count("runtime-start") === 2);
    expect(await eventually(() => subject.emulator.runtimePid())).not.toBe(pid);
    const event = await subject.api.next();
    await subject.api.respond(requestIdOf(event), { body: '"alive"' });
    void subject.api.next();
    expect(await again).toMatchObject({ status: "success", coldStart: true });
  });

  test("whose extension never asks for the next event times out after the caller has its answer", async () => {
    await using subject = await emulateAll({ a: { events: ["INVOKE", "SHUTDOWN"] } }, { timeoutMs: 300 });
    const invoked = subject.emulator.invoke("{}");
    await subject.polls.a!.next;
    await subject.api.respond(requestIdOf(await subject.next), { body: '"in time"' });
    void subject.api.next();
    const result = await invoked;
    expect(result.status).toBe("timeout");
    expect(result.functionError).toBeUndefined();
    expect(result.payload.toString()).toBe('"in time"');
    // It asks at last, and is told why the environment ended.
    expect(subject.emulator.timeline).toContainEqual(
      expect.objectContaining({ kind: "reset", detail: "timeout" }),
    );
  });

  test.each([
    [0, "Runtime exited without providing a reason"],
    [1, "Runtime exited with error: exit status 1"],
  ])("whose runtime exits with %i is Runtime.ExitError", async (code, message) => {
    await using subject = await emulateReady({ task: { bootstrap: exitsWhenTold("go", code) } });
    const invoked = subject.emulator.invoke("{}");
    const id = requestIdOf(await subject.next);
    await subject.tell("go");
    const result = await invoked;
    expect(result).toMatchObject({
      status: "error",
      functionError: "Unhandled",
      errorType: "Runtime.ExitError",
    });
    expect(result.payload.toString()).toBe(
      `{"errorType":"Runtime.ExitError","errorMessage":"RequestId: ${id} Error: ${message}"}`,
    );
    expect(subject.emulator.timeline).toContainEqual(
      expect.objectContaining({ kind: "reset", detail: "failure" }),
    );
  });

  test.each([
    [0, "exit code 0"],
    [2, "exit status 2"],
  ])("whose extension exits with %i is Extension.Crash", async (code, message) => {
    await using subject = await emulateAll({ a: { script: exitsWhenTold("go", code), events: ["INVOKE"] } });
    const invoked = subject.emulator.invoke("{}");
    await subject.next;
    await subject.tell("go");
    const result = await invoked;
    expect(JSON.parse(result.payload.toString())).toEqual({
      errorType: "Extension.Crash",
      errorMessage: `RequestId: ${result.requestId} Error: ${message}`,
    });
  });

  test("whose extension exits after the answer keeps the answer, and the environment is reset", async () => {
    await using subject = await emulateAll({ a: { script: exitsWhenTold("go", 0), events: ["INVOKE"] } });
    const invoked = subject.emulator.invoke("{}");
    await subject.api.respond(requestIdOf(await subject.next), { body: '"kept"' });
    void subject.api.next();
    await subject.tell("go");
    const result = await invoked;
    expect(result).toMatchObject({ status: "error", errorType: "Extension.Crash" });
    expect(result.functionError).toBeUndefined();
    expect(result.payload.toString()).toBe('"kept"');
  });

  test("whose extension reported an exit error has that type", async () => {
    await using subject = await emulateAll({ a: { script: exitsWhenTold("go", 1), events: ["INVOKE"] } });
    const invoked = subject.emulator.invoke("{}");
    await subject.polls.a!.next;
    await subject.api.extensionError("exit", subject.polls.a!.id);
    await subject.tell("go");
    expect(JSON.parse((await invoked).payload.toString())).toMatchObject({
      errorType: "Extension.ExitError",
    });
  });

  test("is not harmed by an extension that died between two invocations", async () => {
    await using subject = await emulateAll({ a: { script: exitsWhenTold("go", 0), events: [] } });
    await subject.tell("go");
    await subject.happened("reset");
    const invoked = subject.emulator.invoke("{}");
    await eventually(() => subject.count("spawn", "a") === 2);
    const id = await subject.api.registered("a", []);
    void subject.api.extensionNext(id);
    await eventually(() => subject.count("runtime-start") === 2);
    const event = await subject.api.next();
    await subject.api.respond(requestIdOf(event));
    void subject.api.next();
    expect((await invoked).status).toBe("success");
  });
});

describe("several invocations", () => {
  test("run one after another, and the queue has an end", async () => {
    await using subject = await emulateReady({}, { queueMax: 1 });
    const { emulator, api } = subject;
    const results = [emulator.invoke("1"), emulator.invoke("2")];
    await expect(emulator.invoke("3")).rejects.toMatchObject({ code: "TooManyRequestsException" });
    let event = await subject.next;
    for (const expected of ["1", "2"]) {
      expect(event.text).toBe(expected);
      await api.respond(requestIdOf(event), { body: event.text });
      const waiting = api.next();
      if (expected === "1") event = await waiting;
    }
    expect((await Promise.all(results)).map(({ payload }) => payload.toString())).toEqual(["1", "2"]);
    expect((await Promise.all(results)).map(({ coldStart }) => coldStart)).toEqual([true, false]);
    expect((await results[0]!).initDurationMs).toBeGreaterThan(0);
    expect((await results[1]!).initDurationMs).toBeUndefined();
  });
});

const isLinux = process.platform === "linux";

describe.skipIf(!isLinux)("the freeze (read from /proc, which only Linux has)", () => {
  const state = (pid: number) => readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "")[0];
  const allStopped = (pids: number[]) =>
    eventually(() => pids.every((pid) => state(pid) === "T") || undefined);
  const pidsOf = ({ emulator }: Subject) => [
    ...Object.values(emulator.extensionPids()),
    emulator.runtimePid()!,
  ];

  test("stops every process group after the init, and again after an invocation that is over for everybody", async () => {
    await using subject = await emulateAll({ a: { events: ["INVOKE"] } }, { freeze: true });
    const pids = pidsOf(subject);
    expect(pids).toHaveLength(2);
    await allStopped(pids);

    const invoked = subject.emulator.invoke("{}");
    const event = await subject.next;
    await eventually(() => pids.every((pid) => state(pid) !== "T") || undefined);
    await subject.api.respond(requestIdOf(event));
    void subject.api.next();
    await eventually(() => subject.count("next", "runtime") === 1);
    // The runtime is done and the extension is not: nobody may be stopped yet.
    expect(pids.map(state)).not.toContain("T");
    await subject.polls.a!.next;
    void subject.api.extensionNext(subject.polls.a!.id);
    await invoked;
    await allStopped(pids);
    const kinds = subject.emulator.timeline.map(({ kind }) => kind);
    expect(kinds.lastIndexOf("freeze")).toBeGreaterThan(kinds.lastIndexOf("invoke-done"));
    expect(kinds.indexOf("thaw")).toBeLessThan(kinds.indexOf("invoke-start"));
  });

  /** Waits until the runtime's script has left its mark, so that the freeze does not come too early for it. */
  const frozenAfter = async (mark: string, bootstrap: string) => {
    const subject = await emulate({ task: { bootstrap } }, { freeze: true });
    const content = await subject.told(mark);
    void subject.api.next();
    await subject.happened("freeze");
    return Object.assign(subject, { content });
  };

  test("stops descendants too", async () => {
    await using subject = await frozenAfter(
      "child",
      '#!/bin/sh\nsleep 600 &\necho $! > "$TMPDIR/child"\nwait\n',
    );
    await allStopped([Number(subject.content)]);
  });

  test("lets nothing run: a process that counts makes no progress until the thaw", async () => {
    await using subject = await frozenAfter(
      "beats",
      '#!/bin/sh\nwhile :; do echo x >> "$TMPDIR/beats"; sleep 0.01; done\n',
    );
    await allStopped(pidsOf(subject));
    const beats = () => readFileSync(`${subject.tmp}/beats`, "utf8").length;
    const before = beats();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(beats()).toBe(before);
    subject.emulator.thaw();
    await eventually(() => beats() > before || undefined);
  });

  test("counts towards no limit: an invocation survives a freeze that is longer than its timeout", async () => {
    await using subject = await emulateReady({}, { timeoutMs: 2_000 });
    const invoked = subject.emulator.invoke("{}");
    const event = await subject.next;
    subject.emulator.freeze();
    await new Promise((resolve) => setTimeout(resolve, 2_200));
    subject.emulator.thaw();
    await subject.api.respond(requestIdOf(event), { body: '"thawed"' });
    void subject.api.next();
    expect(await invoked).toMatchObject({ status: "success" });
  });

  test("can be switched off", async () => {
    await using subject = await emulateReady({}, { freeze: false });
    const invoked = subject.emulator.invoke("{}");
    await subject.api.respond(requestIdOf(await subject.next));
    void subject.api.next();
    await invoked;
    expect(subject.count("freeze")).toBe(0);
    expect(pidsOf(subject).map(state)).not.toContain("T");
  });
});
