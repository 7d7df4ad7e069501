/** The end of an environment: order, budgets and kills. */
import { describe, expect, test } from "vitest";
import { shutdownPlan } from "../../../adapters/local/shutdown.ts";
import { requestIdOf } from "./kit/api.ts";
import { emulate, emulateReady, eventually, exitsWhenTold, INERT } from "./kit/emulate.ts";

describe("the plan", () => {
  const external = (name: string, ...events: ("INVOKE" | "SHUTDOWN")[]) => ({
    name,
    kind: "external" as const,
    events: new Set(events),
  });
  const internal = { name: "in", kind: "internal" as const, events: new Set(["INVOKE" as const]) };

  test.each([
    {
      who: "nobody",
      extensions: [],
      plan: { budgetMs: 0, runtime: "kill", runtimeMs: 0, told: [], killed: [] },
    },
    {
      who: "internal extensions only",
      extensions: [internal],
      plan: { budgetMs: 500, runtime: "terminate", runtimeMs: 500, told: [], killed: [] },
    },
    {
      who: "an external extension that wants SHUTDOWN",
      extensions: [external("a", "INVOKE", "SHUTDOWN")],
      plan: { budgetMs: 2000, runtime: "terminate", runtimeMs: 600, told: ["a"], killed: [] },
    },
    {
      who: "external extensions that do and do not, and an internal one",
      extensions: [external("a", "SHUTDOWN"), external("b", "INVOKE"), external("c"), internal],
      plan: { budgetMs: 2000, runtime: "terminate", runtimeMs: 600, told: ["a"], killed: ["b", "c"] },
    },
  ])("for $who", ({ extensions, plan }) => {
    expect(shutdownPlan(extensions)).toEqual(plan);
  });
});

/** Leaves a mark when SIGTERM comes, and then ends or not. */
const marksTerm = (then: string) => `#!/bin/sh
trap 'echo term > "$TMPDIR/term"${then}' TERM
echo up > "$TMPDIR/up"
while :; do sleep 0.02; done
`;

test("without extensions the runtime is killed at once and never told", async () => {
  await using subject = await emulateReady({ task: { bootstrap: marksTerm("; exit 0") } });
  await subject.told("up");
  const report = await subject.emulator.shutdown();
  expect(report).toMatchObject({
    reason: "spindown",
    processes: [{ name: "runtime", exit: "signal: killed", killed: true }],
  });
  expect(subject.count("sigterm")).toBe(0);
});

test("with an internal extension the runtime gets SIGTERM and may end by itself", async () => {
  await using subject = await emulate({ task: { bootstrap: marksTerm("; exit 0") } });
  const id = await subject.told("up").then(() => subject.api.registered("internal", ["INVOKE"]));
  void subject.api.extensionNext(id);
  void subject.api.next();
  await subject.emulator.init;
  const report = await subject.emulator.shutdown();
  expect(await subject.told("term")).toBe("term\n");
  expect(report.processes).toMatchObject([{ name: "runtime", exit: "exit status 0", killed: false }]);
});

test("the runtime ends first, then extensions are told, and may take their time", async () => {
  await using subject = await emulate({
    extensions: { a: exitsWhenTold("go", 0) },
    task: { bootstrap: marksTerm("; exit 0") },
  });
  const id = await subject.api.registered("a", ["SHUTDOWN"]);
  const event = subject.api.extensionNext(id);
  await subject.told("up");
  void subject.api.next();
  await subject.emulator.init;
  const before = Date.now();
  const ending = subject.emulator.shutdown();
  const { text } = await event;
  expect(JSON.parse(text)).toEqual({
    eventType: "SHUTDOWN",
    shutdownReason: "spindown",
    deadlineMs: expect.any(Number),
  });
  expect(JSON.parse(text).deadlineMs).toBeGreaterThanOrEqual(before + 2_000);
  expect(subject.emulator.runtimePid()).toBeUndefined();
  await subject.tell("go");
  expect((await ending).processes).toMatchObject([
    { name: "a", exit: "exit status 0", killed: false },
    { name: "runtime", exit: "exit status 0", killed: false },
  ]);
  const order = subject.emulator.timeline.map(({ kind, process }) => `${kind} ${process ?? ""}`.trim());
  expect(order.slice(order.indexOf("shutdown"))).toEqual([
    "shutdown",
    "sigterm runtime",
    "exit runtime",
    "shutdown-event a",
    "exit a",
    "shutdown-done",
  ]);
});

test("a runtime that ignores SIGTERM is killed, and extensions still get their turn", async () => {
  await using subject = await emulate({
    extensions: { a: exitsWhenTold("go", 0) },
    task: { bootstrap: marksTerm("") },
  });
  const id = await subject.api.registered("a", ["SHUTDOWN"]);
  const event = subject.api.extensionNext(id);
  await subject.told("up");
  void subject.api.next();
  await subject.emulator.init;
  const ending = subject.emulator.shutdown();
  await event;
  await subject.tell("go");
  expect((await ending).processes).toMatchObject([
    { name: "a", killed: false },
    { name: "runtime", exit: "signal: killed", killed: true },
  ]);
  expect(await subject.told("term")).toBe("term\n");
});

test("an extension that ignores the event is killed at the deadline, with its descendants", async () => {
  await using subject = await emulate({
    extensions: { a: '#!/bin/sh\nsleep 600 &\necho $! > "$TMPDIR/child"\nwait\n' },
  });
  const id = await subject.api.registered("a", ["SHUTDOWN"]);
  const event = subject.api.extensionNext(id);
  await subject.happened("runtime-start");
  void subject.api.next();
  await subject.emulator.init;
  const child = Number(await subject.told("child"));
  const ending = subject.emulator.shutdown();
  const { deadlineMs } = JSON.parse((await event).text);
  const report = await ending;
  expect(Date.now()).toBeGreaterThanOrEqual(deadlineMs);
  expect(report.processes[0]).toMatchObject({ name: "a", exit: "signal: killed", killed: true });
  await eventually(() => !isAlive(child) || undefined);
});

test("an extension without a SHUTDOWN subscription is killed untold", async () => {
  await using subject = await emulate({ extensions: { a: INERT, b: exitsWhenTold("go", 0) } });
  const quiet = await subject.api.registered("a", []);
  const silence = subject.api.extensionNext(quiet);
  const told = subject.api.extensionNext(await subject.api.registered("b", ["SHUTDOWN"]));
  await subject.happened("runtime-start");
  void subject.api.next();
  await subject.emulator.init;
  const ending = subject.emulator.shutdown();
  await told;
  await subject.tell("go");
  expect((await ending).processes).toMatchObject([
    { name: "a", exit: "signal: killed", killed: true },
    { name: "b", exit: "exit status 0", killed: false },
    { name: "runtime" },
  ]);
  await expect(silence).rejects.toThrow();
});

test("an extension that was busy gets SHUTDOWN when it asks, with the reason of the reset", async () => {
  await using subject = await emulate({ extensions: { a: exitsWhenTold("go", 0) } }, { timeoutMs: 300 });
  const id = await subject.api.registered("a", ["INVOKE", "SHUTDOWN"]);
  const invoke = subject.api.extensionNext(id);
  await subject.happened("runtime-start");
  void subject.api.next();
  await subject.emulator.init;
  const invoked = subject.emulator.invoke("{}");
  await invoke;
  await subject.happened("shutdown-event", "a");
  expect(JSON.parse((await subject.api.extensionNext(id)).text)).toMatchObject({
    eventType: "SHUTDOWN",
    shutdownReason: "timeout",
  });
  await subject.tell("go");
  expect((await invoked).status).toBe("timeout");
});

test("a crash resets with the reason failure, and what is in /tmp stays", async () => {
  await using subject = await emulate({
    extensions: { a: exitsWhenTold("go-a", 0) },
    task: { bootstrap: exitsWhenTold("go", 1) },
  });
  const event = subject.api.extensionNext(await subject.api.registered("a", ["SHUTDOWN"]));
  await subject.happened("runtime-start");
  void subject.api.next();
  await subject.emulator.init;
  await subject.tell("kept");
  await subject.tell("go");
  expect(JSON.parse((await event).text)).toMatchObject({ shutdownReason: "failure" });
  await subject.tell("go-a");
  const invoked = subject.emulator.invoke("{}");
  await eventually(() => subject.count("spawn", "a") === 2);
  expect(await subject.told("kept")).toBe("x");
  void subject.api.extensionNext(await subject.api.registered("a", []));
  const next = await subject
    .happened("runtime-start")
    .then(() => eventually(() => subject.count("runtime-start") === 2).then(() => subject.api.next()));
  await subject.api.respond(requestIdOf(next));
  void subject.api.next();
  expect((await invoked).status).toBe("success");
});

test("a frozen environment is thawed to be told", async () => {
  await using subject = await emulate({ extensions: { a: exitsWhenTold("go", 0) } }, { freeze: true });
  const event = subject.api.extensionNext(await subject.api.registered("a", ["SHUTDOWN"]));
  await subject.happened("runtime-start");
  void subject.api.next();
  await subject.happened("freeze");
  const ending = subject.emulator.shutdown();
  await event;
  await subject.tell("go");
  expect((await ending).processes).toMatchObject([{ name: "a", exit: "exit status 0" }, { name: "runtime" }]);
});

test("shutdown waits for the invocation that runs, refuses those that wait, and is the same for everybody", async () => {
  await using subject = await emulateReady();
  const running = subject.emulator.invoke("1");
  const waiting = expect(subject.emulator.invoke("2")).rejects.toMatchObject({ code: "ServiceException" });
  const event = await subject.next;
  const ending = subject.emulator.shutdown();
  await expect(subject.emulator.invoke("3")).rejects.toMatchObject({ code: "ServiceException" });
  await subject.api.respond(requestIdOf(event), { body: '"done"' });
  void subject.api.next();
  expect((await running).payload.toString()).toBe('"done"');
  await waiting;
  expect(await subject.emulator.shutdown()).toBe(await ending);
});

test("shutdown now fails the invocation that runs", async () => {
  await using subject = await emulateReady();
  const running = subject.emulator.invoke("1");
  await subject.next;
  await subject.emulator.shutdown({ now: true });
  expect(await running).toMatchObject({ status: "failure", errorType: "Sandbox.Failure" });
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
