/** The Extensions API: registration, the long poll, error reports and every kind of misuse. */
import { describe, expect, test } from "vitest";
import { type Reply, refusal } from "./kit/api.ts";
import { emulate, emulateReady, INERT } from "./kit/emulate.ts";

const UNKNOWN_ID = "11111111-2222-3333-4444-555555555555";
const REGISTER = "/2020-01-01/extension/register";
const NEXT = "/2020-01-01/extension/event/next";

const transition = (from: string, to: string, who: string) =>
  refusal(
    "Extension.InvalidExtensionState",
    `State transition from ${from} to ${to} failed for extension ${who}. Error: State transition is not allowed`,
  );

describe("register", () => {
  test("answers an identifier and the function's metadata, with the account only when asked", async () => {
    await using subject = await emulate({ extensions: { a: INERT, b: INERT } }, { handler: "index.handler" });
    const plain = await subject.api.register("a", ["INVOKE", "SHUTDOWN"]);
    expect(plain).toMatchObject({
      status: 200,
      text: '{"functionName":"function","functionVersion":"$LATEST","handler":"index.handler"}\n',
    });
    expect(plain.headers["lambda-extension-identifier"]).toMatch(/^[0-9a-f]{8}-[0-9a-f-]{27}$/);
    const features = await subject.api.register("b", [], {
      "Lambda-Extension-Accept-Feature": "nonsense, accountId",
    });
    expect(JSON.parse(features.text)).toMatchObject({ accountId: "123456789012" });
  });

  test("takes an empty list of events, no list, and null", async () => {
    await using subject = await emulate({ extensions: { a: INERT, b: INERT, c: INERT } });
    for (const [name, body] of [
      ["a", '{"events":[]}'],
      ["b", "{}"],
      ["c", "null"],
    ] as const)
      expect(
        await subject.api.call("POST", REGISTER, { headers: { "Lambda-Extension-Name": name }, body }),
      ).toMatchObject({ status: 200 });
  });

  test("refuses a name that is missing, an event that does not exist, and a body that is no registration", async () => {
    await using subject = await emulate({ extensions: { a: INERT } });
    const post = (name: string | undefined, body: string) =>
      subject.api.call("POST", REGISTER, {
        headers: name === undefined ? {} : { "Lambda-Extension-Name": name },
        body,
      });
    const format = (message: string) => refusal("InvalidRequestFormat", message);
    expect(await post(undefined, "{}")).toMatchObject({
      status: 403,
      text: refusal("Extension.InvalidExtensionName", "Empty extension name"),
    });
    expect(await post("a", '{"events":["INVOKE","FOO"]}')).toMatchObject({
      status: 403,
      text: refusal("Extension.InvalidEventType", "FOO: ErrorInvalidEventType"),
    });
    expect(await post("internal", '{"events":["SHUTDOWN"]}')).toMatchObject({
      status: 403,
      text: refusal("Extension.InvalidEventType", "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension"),
    });
    expect(await post("a", "")).toMatchObject({ status: 403, text: format("unexpected end of JSON input") });
    expect(await post("a", '{"configurationKeys":["K"]}')).toMatchObject({
      status: 403,
      text: format("configurationKeys are deprecated; use environment variables instead"),
    });
    for (const body of ["{", '{"events":"INVOKE"}', '{"events":[1]}', "[]", '"text"']) {
      const reply = await post("a", body);
      expect(reply.status).toBe(403);
      expect(JSON.parse(reply.text).errorType).toBe("InvalidRequestFormat");
    }
    // None of that has used the registration up.
    expect(await post("a", '{"events":["INVOKE"]}')).toMatchObject({ status: 200 });
  });

  test("refuses a body over its limit without keeping it", async () => {
    await using subject = await emulate({ extensions: { a: INERT } });
    const reply = await subject.api.call("POST", REGISTER, {
      headers: { "Lambda-Extension-Name": "a" },
      body: Buffer.alloc(1024 * 1024, " "),
    });
    expect(reply.status).toBe(413);
  });

  test("refuses a second registration, of an external and of an internal extension", async () => {
    await using subject = await emulate({ extensions: { a: INERT } });
    await subject.api.registered("a", []);
    expect(await subject.api.register("a", [])).toMatchObject({
      status: 403,
      text: transition("Registered", "Registered", "a"),
    });
    await subject.api.registered("internal", ["INVOKE"]);
    expect(await subject.api.register("internal", ["INVOKE"])).toMatchObject({
      status: 403,
      text: refusal("Extension.InvalidExtensionState", "Extension with this name already registered"),
    });
  });

  test("takes ten extensions, external and internal together, and no eleventh", async () => {
    await using subject = await emulate({ extensions: { a: INERT, b: INERT } });
    for (const name of ["a", "b", ...Array.from({ length: 8 }, (_, i) => `internal-${i}`)])
      await subject.api.registered(name, []);
    expect(await subject.api.register("internal-8", [])).toMatchObject({
      status: 403,
      text: refusal("Extension.TooManyExtensions", "Extension limit (10) reached"),
    });
  });

  test("is closed to internal extensions once the runtime is ready", async () => {
    await using subject = await emulateReady();
    expect(await subject.api.register("late", [])).toMatchObject({
      status: 403,
      text: refusal("Extension.RegistrationClosed", "Extension registration closed already"),
    });
  });
});

describe("the identifier", () => {
  const calls: [string, string, string][] = [
    ["GET", NEXT, "Unknown extension"],
    ["POST", "/2020-01-01/extension/init/error", "Unknown Lambda-Extension-Identifier"],
    ["POST", "/2020-01-01/extension/exit/error", "Unknown Lambda-Extension-Identifier"],
    ["PUT", "/2022-07-01/telemetry", "Unknown extension"],
  ];

  test.each(calls)("is checked by %s %s", async (method, path, unknown) => {
    await using subject = await emulate({ extensions: { a: INERT } });
    const call = (id: string | undefined): Promise<Reply> =>
      subject.api.call(method, path, {
        headers: {
          "Lambda-Extension-Function-Error-Type": "Extension.X",
          ...(id === undefined ? {} : { "Lambda-Extension-Identifier": id }),
        },
        ...(method === "GET" ? {} : { body: "{}" }),
      });
    expect(await call(undefined)).toMatchObject({
      status: 403,
      text: refusal("Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header"),
    });
    expect(await call("no-uuid")).toMatchObject({
      status: 403,
      text: refusal("Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier"),
    });
    const message = unknown === "Unknown extension" ? `Unknown extension ${UNKNOWN_ID}` : unknown;
    for (const spelling of [
      UNKNOWN_ID,
      UNKNOWN_ID.replaceAll("-", ""),
      `{${UNKNOWN_ID}}`,
      `urn:uuid:${UNKNOWN_ID}`,
    ])
      expect(await call(spelling)).toMatchObject({
        status: 403,
        text: refusal("Extension.UnknownExtensionIdentifier", message),
      });
  });
});

describe("next", () => {
  test("is refused to an extension that waits already", async () => {
    await using subject = await emulate({ extensions: { a: INERT } });
    const id = await subject.api.registered("a", ["INVOKE"]);
    void subject.api.extensionNext(id);
    await subject.happened("first-next", "a");
    expect(await subject.api.extensionNext(id)).toMatchObject({
      status: 403,
      text: transition("Ready", "Ready", id),
    });
  });
});

describe("an error report", () => {
  test("needs its header", async () => {
    await using subject = await emulate({ extensions: { a: INERT } });
    const id = await subject.api.registered("a", []);
    for (const which of ["init", "exit"])
      expect(
        await subject.api.call("POST", `/2020-01-01/extension/${which}/error`, {
          headers: { "Lambda-Extension-Identifier": id },
        }),
      ).toMatchObject({
        status: 403,
        text: refusal("Extension.MissingHeader", "Lambda-Extension-Function-Error-Type not found"),
      });
  });

  test("of the init is accepted from Registered, may be repeated, and nothing else succeeds after it", async () => {
    await using subject = await emulate({ extensions: { a: INERT } });
    const id = await subject.api.registered("a", []);
    for (let time = 0; time < 2; time++)
      expect(await subject.api.extensionError("init", id)).toMatchObject({
        status: 202,
        text: '{"status":"OK"}\n',
      });
    expect(await subject.api.extensionError("exit", id)).toMatchObject({
      status: 403,
      text: transition("InitError", "Exited", id),
    });
    expect(await subject.api.extensionNext(id)).toMatchObject({
      status: 403,
      text: transition("InitError", "Ready", id),
    });
    expect(await subject.api.register("a", [])).toMatchObject({
      status: 403,
      text: transition("InitError", "Registered", "a"),
    });
  });

  test("of an exit is accepted from Registered and from Ready, and nothing else succeeds after it", async () => {
    await using subject = await emulate({ extensions: { a: INERT, b: INERT } });
    const registered = await subject.api.registered("a", []);
    expect(await subject.api.extensionError("exit", registered)).toMatchObject({ status: 202 });
    expect(await subject.api.extensionNext(registered)).toMatchObject({
      status: 403,
      text: transition("ExitError", "Ready", registered),
    });
    const ready = await subject.api.registered("b", []);
    void subject.api.extensionNext(ready);
    await subject.happened("first-next", "b");
    expect(await subject.api.extensionError("init", ready)).toMatchObject({
      status: 403,
      text: transition("Ready", "InitError", ready),
    });
    expect(await subject.api.extensionError("exit", ready)).toMatchObject({ status: 202 });
  });

  test("is refused to an extension that never registered", async () => {
    await using subject = await emulate({ extensions: { a: INERT } });
    expect(await subject.api.extensionError("init", UNKNOWN_ID)).toMatchObject({ status: 403 });
  });
});

test("the file that disables extensions makes their APIs an empty 404 and starts none", async () => {
  await using subject = await emulate({
    extensions: { a: INERT },
    opt: { "disable-extensions-jwigqn8j": "" },
  });
  const { api } = subject;
  expect(await api.register("a", [])).toMatchObject({ status: 404, text: "" });
  expect(await api.call("GET", NEXT)).toMatchObject({ status: 404, text: "" });
  expect(await api.subscribe(UNKNOWN_ID, {})).toMatchObject({ status: 404, text: "" });
  await subject.happened("runtime-start");
  expect(subject.count("spawn")).toBe(0);
});
