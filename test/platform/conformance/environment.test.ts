/** What the processes see of their surroundings: variables, folders, wrapper. */
import { dirname } from "node:path";
import { describe, expect, test } from "vitest";
import { environmentProblems } from "../../../adapters/local/environment.ts";
import { type EmulatorOptionsError, resolveOptions } from "../../../adapters/local/options.ts";
import { requestIdOf } from "./kit/api.ts";
import { emulate, INERT } from "./kit/emulate.ts";

/** Writes its variables to a file, its working folder after them, and then does nothing. */
const dumps = (name: string) =>
  `#!/bin/sh\nenv > "$TMPDIR/.${name}"\necho "CWD=$(pwd)" >> "$TMPDIR/.${name}"\nmv "$TMPDIR/.${name}" "$TMPDIR/${name}"\nexec sleep 600\n`;

const parsed = (text: string): Record<string, string> =>
  Object.fromEntries(
    text
      .trimEnd()
      .split("\n")
      .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );

test("function and extension see the same variables, except those that only the runtime knows", async () => {
  process.env.LEAK_OF_THE_CALLER = "must not be seen";
  await using subject = await emulate(
    { extensions: { a: dumps("extension") }, task: { bootstrap: dumps("function") } },
    {
      handler: "index.handler",
      functionName: "orders",
      functionVersion: "7",
      region: "us-east-2",
      memoryMb: 256,
      env: { MY_ENV: "a=b=c", EMPTY_ENV: "", TZ: "Europe/Berlin", AWS_LAMBDA_EXEC_WRAPPER: "/opt/wrapper" },
    },
  );
  delete process.env.LEAK_OF_THE_CALLER;
  const extension = parsed(await subject.told("extension"));
  await subject.api.registered("a", []);
  const fn = parsed(await subject.told("function"));

  expect(fn).toMatchObject({
    _HANDLER: "index.handler",
    AWS_EXECUTION_ENV: "AWS_Lambda_provided.al2023",
    AWS_REGION: "us-east-2",
    AWS_DEFAULT_REGION: "us-east-2",
    AWS_LAMBDA_FUNCTION_NAME: "orders",
    AWS_LAMBDA_FUNCTION_VERSION: "7",
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: "256",
    AWS_LAMBDA_INITIALIZATION_TYPE: "on-demand",
    AWS_LAMBDA_LOG_GROUP_NAME: "/aws/lambda/orders",
    AWS_LAMBDA_LOG_STREAM_NAME: expect.stringMatching(/^\d{4}\/\d\d\/\d\d\/\[7\][0-9a-f]{32}$/),
    AWS_LAMBDA_RUNTIME_API: subject.emulator.runtimeApi,
    AWS_LAMBDA_LOG_FORMAT: "Text",
    AWS_ACCESS_KEY_ID: expect.any(String),
    AWS_SECRET_ACCESS_KEY: expect.any(String),
    AWS_SESSION_TOKEN: expect.any(String),
    AWS_LAMBDA_EXEC_WRAPPER: `${subject.root}/opt/wrapper`,
    LAMBDA_TASK_ROOT: `${subject.root}/task`,
    LAMBDA_RUNTIME_DIR: expect.stringContaining("bootstrap"),
    LANG: "en_US.UTF-8",
    TZ: "Europe/Berlin",
    TMPDIR: subject.tmp,
    MY_ENV: "a=b=c",
    EMPTY_ENV: "",
    CWD: `${subject.root}/task`,
  });
  expect(fn.PATH!.split(":")).toEqual(
    expect.arrayContaining([dirname(process.execPath), `${subject.root}/opt/bin`]),
  );

  const lacking = [
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_XRAY_CONTEXT_MISSING",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
    "_HANDLER",
  ];
  // What the shell that dumps them sets itself does not count.
  const own = ["CWD", "PWD", "_", "OLDPWD", "SHLVL"];
  const names = (env: object) => Object.keys(env).filter((name) => !own.includes(name));
  expect(names(extension).sort()).toEqual(
    names(fn)
      .filter((name) => !lacking.includes(name))
      .sort(),
  );
  for (const name of names(extension)) expect(extension[name]).toBe(fn[name]);
  expect(fn.LEAK_OF_THE_CALLER).toBeUndefined();
  expect(extension.LEAK_OF_THE_CALLER).toBeUndefined();
});

describe("the function's own variables", () => {
  test.each([
    [{ OK_1: "x" }, []],
    [{ _HANDLER: "x" }, ["env: _HANDLER is set by Lambda itself; remove it"]],
    [{ AWS_REGION: "x" }, ["env: AWS_REGION is set by Lambda itself; remove it"]],
    [
      { "1A": "x", A: "y", "A-B": "z" },
      ["1A", "A", "A-B"].map(
        (name) =>
          `env: "${name}" is not a name that Lambda allows; use a letter, then letters, digits or _, at least two characters`,
      ),
    ],
    [
      { BIG: "x".repeat(4094) },
      ["env: names and values take 4097 bytes, Lambda allows 4096; move large values to a file"],
    ],
    [{ BIG: "x".repeat(4093) }, []],
  ])("%o have the problems %o", (env, problems) => {
    expect(environmentProblems(env as unknown as Record<string, string>)).toEqual(problems);
  });
});

describe("the options", () => {
  const problemsOf = (options: object): readonly string[] => {
    try {
      resolveOptions(options as Parameters<typeof resolveOptions>[0]);
      return [];
    } catch (error) {
      return (error as EmulatorOptionsError).problems;
    }
  };

  test("report every problem at once, with its remedy", () => {
    expect(
      problemsOf({
        taskRoot: "/no/such/folder",
        timeoutMs: 0,
        memoryMb: 64.5,
        optroot: "x",
        optRoot: "/no/opt",
      }),
    ).toEqual([
      expect.stringMatching(/^optroot: there is no such option; known are .*optRoot/),
      "taskRoot: /no/such/folder is not a folder; name one that exists",
      "optRoot: /no/opt is not a folder; name one that exists",
      "handler: the node runtime needs one; name it as file.function, e.g. index.handler",
      "memoryMb: 64.5 is out of bounds; use a whole number from 128 to 10240",
      "timeoutMs: 0 is out of bounds; use a whole number from 1 to 900000",
    ]);
  });

  test("that are undefined take their default", () => {
    const options = resolveOptions({
      taskRoot: ".",
      handler: "a.b",
      ...({ timeoutMs: undefined } as object),
    });
    expect(options).toMatchObject({ timeoutMs: 3000, memoryMb: 512, initTimeoutMs: 10_000, freeze: true });
  });

  test("refuse a runtime that does not exist", () => {
    expect(problemsOf({ taskRoot: ".", runtime: "ruby" })).toEqual([
      'runtime: "ruby" is unknown; use node, python or custom',
    ]);
  });
});

describe("a port that is taken", () => {
  test("is one clear sentence, and nothing is left behind", async () => {
    await using subject = await emulate();
    const port = Number(subject.emulator.runtimeApi.split(":")[1]);
    await expect(emulate({}, { invokePort: port })).rejects.toThrow(
      `The Invoke endpoint cannot listen on 127.0.0.1:${port}: the port is in use; choose another port, or 0 for any`,
    );
  });
});

describe("the exec wrapper", () => {
  const node = { runtime: "node" as const, handler: "index.handler" };
  const task = { "index.mjs": "export const handler = async () => process.env.FROM_WRAPPER ?? null;\n" };
  const wrapper = { env: { AWS_LAMBDA_EXEC_WRAPPER: "/opt/wrapper" } };

  test("gets the interpreter and all its arguments, and what it exports reaches the function and no extension", async () => {
    await using subject = await emulate(
      {
        task,
        extensions: { a: dumps("extension") },
        opt: { wrapper: '#!/bin/sh\necho "$@" > "$TMPDIR/argv"\nexport FROM_WRAPPER=yes\nexec "$@"\n' },
      },
      { ...node, ...wrapper, memoryMb: 1000 },
    );
    void subject.api.extensionNext(await subject.api.registered("a", []));
    const [interpreter, ...args] = (await subject.told("argv")).trimEnd().split(" ");
    expect(interpreter).toBe(process.execPath);
    expect(args).toEqual([
      "--expose-gc",
      "--max-http-header-size",
      "81920",
      "--max-semi-space-size=50",
      "--max-old-space-size=900",
      expect.stringMatching(/\/node\.mjs$/),
    ]);
    expect((await subject.emulator.invoke("{}")).payload.toString()).toBe('"yes"');
    expect(parsed(await subject.told("extension")).FROM_WRAPPER).toBeUndefined();
  });

  test.each([
    { what: "is missing", tree: {}, words: "does not exist", code: 127 },
    {
      what: "is not executable",
      tree: { plain: { "opt/wrapper": INERT } },
      words: "is not an executable",
      code: 126,
    },
  ])("that $what ends the runtime with $code", async ({ tree, words, code }) => {
    await using subject = await emulate({ task, ...tree }, { ...node, ...wrapper });
    expect((await subject.emulator.init).fatal).toEqual({
      type: "Runtime.ExitError",
      message: `Runtime exited with error: exit status ${code}`,
    });
    const line = { source: "function", process: "runtime", text: `${subject.root}/opt/wrapper: ${words}` };
    expect(subject.logs).toContainEqual(line);
  });

  test("means nothing to a custom runtime", async () => {
    await using subject = await emulate({ task: { bootstrap: dumps("function") } }, wrapper);
    await subject.told("function");
    void subject.api.next();
    expect((await subject.emulator.init).status).toBe("success");
    const invoked = subject.emulator.invoke("{}");
    await subject.api.respond(requestIdOf(await subject.api.next()));
    await subject.emulator.shutdown({ now: true });
    await invoked;
  });
});
