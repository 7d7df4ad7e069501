/** The built layer in the emulator: what a function, its upstreams and its operator see. */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { field } from "../kit/message.ts";
import { answer, type Origin, ok, reset, scriptedOrigin, silence } from "../kit/origin.ts";
import { type LogEntry, startFunction, UPSTREAM_HOST } from "./kit/function.ts";

const upstream = (...script: Parameters<typeof scriptedOrigin>[0]): Promise<Origin> =>
  scriptedOrigin(script, { host: UPSTREAM_HOST });

const url = (origin: Origin, path = "/"): string => `http://${origin.authority}${path}`;

const asked = (origin: Origin): string[] => origin.requests.map(({ startLine }) => startLine);

/** A port that nobody has just now. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await new Promise((closed) => server.close(closed));
  return port;
}

const hasPython = spawnSync("python3", ["--version"]).status === 0;

/** A destination for the tests' upstreams, with everything that a policy may say about it. */
const destination = (policy: object) => ({
  destinations: [{ name: "upstream", hosts: [UPSTREAM_HOST], ...policy }],
});

const summaryOf =
  (requestId: string) =>
  ({ event, invocation_id }: LogEntry): boolean =>
    event === "summary" && invocation_id === requestId;

describe("a Node function that knows nothing of Outrider", () => {
  test.each(["http", "fetch"] as const)(
    "calls through the proxy with %s, and obeys its policy",
    async (by) => {
      await using origin = await upstream(reset(), ok("second try"), ok("posted"));
      await using subject = await startFunction({ policy: destination({ retry: { max_retries: 1 } }) });
      expect(
        await subject.call(
          { url: url(origin, "/a?b=c"), by },
          { url: url(origin, "/d"), by, method: "POST", body: "x=1" },
        ),
      ).toEqual([
        { status: 200, code: null, body: "second try" },
        { status: 200, code: null, body: "posted" },
      ]);
      expect(asked(origin)).toEqual(["GET /a?b=c HTTP/1.1", "GET /a?b=c HTTP/1.1", "POST /d HTTP/1.1"]);
      const line = await subject.entry(({ path }) => path === "/a?b=c");
      expect(line).toMatchObject({
        destination: "upstream",
        method: "GET",
        status: 200,
        attempts: 2,
        retries: 1,
      });
    },
  );

  test("calls https through a tunnel, whose bytes are its own", async () => {
    await using origin = await upstream(silence());
    await using subject = await startFunction({ timeoutMs: 10_000 });
    const calling = subject.call({ url: `https://${origin.authority}/`, by: "http" });
    await origin.connected(1);
    // The first byte of a TLS record that holds a handshake (RFC 8446 §5.1).
    expect((await origin.connections[0]!.take(1))[0]).toBe(0x16);
    origin.connections[0]!.destroy();
    expect(await calling).toEqual([expect.objectContaining({ status: 0, error: expect.any(String) })]);
    expect(await subject.entry(({ method }) => method === "CONNECT")).toMatchObject({
      host: UPSTREAM_HOST,
      port: origin.port,
    });
  });

  test("is refused what the policy denies, in the clear, by fetch and through a tunnel", async () => {
    await using origin = await upstream(ok("never"));
    await using subject = await startFunction({ policy: destination({ access: "deny" }) });
    const [plain, fetched, tunnelled] = await subject.call(
      { url: url(origin), by: "http" },
      { url: url(origin) },
      { url: `https://${origin.authority}/`, by: "http" },
    );
    expect(plain).toMatchObject({ status: 403, code: "DENIED" });
    expect(plain!.body).toMatch(/^outrider: admit: The policy does not allow this destination\. \[DENIED /);
    // A client that asked for a tunnel sees the refusal as an error of the proxy, or as its answer.
    for (const result of [fetched!, tunnelled!]) expect([0, 403]).toContain(result.status);
    expect(origin.connections).toHaveLength(0);
  });
});

describe("a Python function that knows nothing of Outrider", () => {
  // A machine without Python may skip this; the one that guards the branch may not.
  test.skipIf(!hasPython && process.env.CI !== "true")(
    "calls through the proxy with urllib, and obeys the policy (needs python3)",
    async () => {
      await using origin = await upstream(
        answer("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"),
        ok("hello"),
      );
      await using subject = await startFunction({
        runtime: "python",
        policy: destination({ retry: { max_retries: 1, on: [503] } }),
      });
      expect(await subject.call({ url: url(origin) })).toEqual([{ status: 200, code: null, body: "hello" }]);
      expect(origin.requests).toHaveLength(2);
    },
  );
});

describe("an invocation", () => {
  test("gets its answer before its deadline although the upstream never answers", async () => {
    await using origin = await upstream(silence());
    await using subject = await startFunction({
      timeoutMs: 2500,
      policy: { defaults: { deadline_reserve: "1s" } },
    });
    const [result] = await subject.call({ url: url(origin), by: "http" });
    expect(result).toMatchObject({ status: 504, code: "DEADLINE_EXCEEDED" });
    expect(await subject.entry(({ event }) => event === "call")).toMatchObject({
      error: "DEADLINE_EXCEEDED",
      error_detail: expect.stringContaining("deadline_reserve (1000 ms)"),
    });
  });

  test("gives its trace to the upstream, in both formats", async () => {
    await using origin = await upstream(ok());
    await using subject = await startFunction();
    const root = "1-67891233-abcdef012345678912345678";
    const traceId = `Root=${root};Parent=463ac35c9f6413ad;Sampled=1;Lineage=1:12345678:0`;
    await subject.answer({ calls: [{ url: url(origin), by: "http" }] }, { traceId });
    const request = origin.requests[0]!;
    const xray = field(request, "x-amzn-trace-id")!;
    expect(xray).toMatch(new RegExp(`^Root=${root};Parent=[0-9a-f]{16};Sampled=1;Lineage=1:12345678:0$`));
    const [version, trace, span, flags] = field(request, "traceparent")!.split("-");
    expect([version, trace, flags]).toEqual(["00", root.slice(2).replace("-", ""), "01"]);
    expect(xray).toContain(`Parent=${span}`);
    expect(span).not.toBe("463ac35c9f6413ad");
    expect(await subject.entry(({ event }) => event === "call")).toMatchObject({ trace_id: trace });
  });

  test("has its id in the lines of its calls, and one summary, also the last one before the end", async () => {
    await using origin = await upstream(ok());
    await using subject = await startFunction();
    // Word of an invocation reaches the extension and the function at the same time: a call in its first moment may come before it.
    const event = { calls: [{ url: url(origin), by: "http" }], restMs: 200 };
    const first = await subject.answer(event);
    const second = await subject.answer(event);
    const silent = await subject.answer({});
    await subject.emulator.shutdown();
    const entries = subject.entries();
    const lines = entries.filter(({ event: kind }) => kind === "call");
    expect(lines.map(({ invocation_id }) => invocation_id)).toEqual([first.requestId, second.requestId]);
    const summaries = entries.filter(({ event: kind }) => kind === "summary");
    expect(summaries).toEqual([
      expect.objectContaining({
        invocation_id: first.requestId,
        calls: 1,
        cold_start: true,
        occasion: "superseded",
      }),
      expect.objectContaining({ invocation_id: second.requestId, calls: 1, cold_start: false }),
      expect.objectContaining({ invocation_id: silent.requestId, calls: 0, occasion: "drained" }),
    ]);
  });

  test("has its summary also when it times out", async () => {
    await using origin = await upstream(ok());
    await using subject = await startFunction({ timeoutMs: 2000 });
    const { status, requestId } = await subject.emulator.invoke({
      calls: [{ url: url(origin), by: "http" }],
      hang: true,
    });
    expect(status).toBe("timeout");
    expect(await subject.entry(summaryOf(requestId))).toMatchObject({ calls: 1, occasion: "drained" });
    expect(await subject.entry(({ event }) => event === "call")).toMatchObject({ invocation_id: requestId });
  });
});

describe("a function that is frozen while the upstream closes its pooled connections", () => {
  const closeAll = (origin: Origin): void => {
    for (const peer of origin.connections) peer.destroy();
  };

  test.each(["http", "fetch"] as const)("sees no error on a GET by %s after the thaw", async (by) => {
    await using origin = await upstream(ok());
    await using subject = await startFunction();
    const get = { url: url(origin), by };
    await subject.call(get, get);
    expect(origin.connections).toHaveLength(1);
    await subject.happened("freeze");
    closeAll(origin);
    expect(await subject.call(get)).toEqual([{ status: 200, code: null, body: "ok" }]);
    expect(origin.requests).toHaveLength(3);
    expect(origin.connections).toHaveLength(2);
  });

  test("sees no error on a POST after a pause, and the upstream gets it once", async () => {
    await using origin = await upstream(ok());
    await using subject = await startFunction();
    const post = { url: url(origin), by: "http", method: "POST", body: "charge" } as const;
    await subject.call(post);
    await subject.happened("freeze");
    closeAll(origin);
    // Longer than an idle connection is trusted with a request that must not be sent twice.
    await new Promise((resolve) => setTimeout(resolve, 1200));
    expect(await subject.call(post)).toEqual([{ status: 200, code: null, body: "ok" }]);
    expect(asked(origin)).toEqual(["POST / HTTP/1.1", "POST / HTTP/1.1"]);
  });

  test("keeps its connections when nobody closed them", async () => {
    await using origin = await upstream(ok());
    await using subject = await startFunction();
    const get = { url: url(origin), by: "http" } as const;
    for (let count = 0; count < 3; count++) await subject.call(get);
    expect(origin.requests).toHaveLength(3);
    expect(origin.connections).toHaveLength(1);
  });
});

describe("the function's own settings", () => {
  test("reach it through the next wrapper, which sees the proxy's variables", async () => {
    await using subject = await startFunction({
      opt: { "next-wrapper": '#!/bin/sh\nexport CHAINED="$HTTP_PROXY"\nexec "$@"\n' },
      env: { OUTRIDER_NEXT_WRAPPER: "/opt/next-wrapper", NO_PROXY: "internal.example" },
    });
    const { env } = await subject.answer({ env: ["CHAINED", "HTTP_PROXY", "NO_PROXY", "no_proxy"] });
    expect(env.CHAINED).toMatch(/^http:\/\/127\.0\.0\.1:[1-9]\d+$/);
    expect(env.HTTP_PROXY).toBe(env.CHAINED);
    expect(env.NO_PROXY!.split(",")).toEqual(expect.arrayContaining(["127.0.0.1", "internal.example"]));
    expect(env.no_proxy).toBe(env.NO_PROXY);
    expect(Number(env.HTTP_PROXY!.split(":").at(-1))).toBe(Number(await subject.told("outrider.port")));
  });

  test("do not reach the extension: no NODE_OPTIONS, and no proxy that is itself", async () => {
    await using origin = await upstream(ok());
    const note =
      'import{appendFileSync}from"node:fs";appendFileSync(process.env.TMPDIR+"/loaded",process.argv[1]+"\\n")';
    const port = await freePort();
    await using subject = await startFunction({
      policy: { listen: { port } },
      env: {
        NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(note)}`,
        HTTP_PROXY: `http://127.0.0.1:${port}`,
        http_proxy: `http://127.0.0.1:${port}`,
      },
    });
    expect(await subject.call({ url: url(origin), by: "http" })).toMatchObject([{ status: 200 }]);
    expect(origin.requests).toHaveLength(1);
    const loaded = await subject.told("loaded");
    expect(loaded).toContain("node.mjs");
    expect(loaded).not.toContain("extension.cjs");
  });

  test.skipIf(process.platform !== "linux")(
    "leave the extension's environment clean (needs /proc)",
    async () => {
      await using subject = await startFunction({
        env: { NODE_OPTIONS: "--no-deprecation", HTTPS_PROXY: "http://x:1" },
      });
      await subject.answer({});
      const pid = subject.emulator.extensionPids().outrider!;
      const names = readFileSync(join("/proc", String(pid), "environ"), "utf8")
        .split("\0")
        .map((pair) => pair.split("=")[0]);
      expect(names).toContain("OUTRIDER_CONFIG");
      expect(names).not.toContain("NODE_OPTIONS");
      expect(names).not.toContain("HTTPS_PROXY");
    },
  );
});

describe("the end of the sandbox", () => {
  test("is quiet: the extension exits by itself with 0, asked once or twice", async () => {
    await using subject = await startFunction();
    await subject.answer({});
    const [once, twice] = await Promise.all([subject.emulator.shutdown(), subject.emulator.shutdown()]);
    expect(twice).toBe(once);
    expect(once.processes).toContainEqual(
      expect.objectContaining({ name: "outrider", exit: "exit status 0", killed: false }),
    );
    expect(subject.said()).toEqual([]);
  });
});
