/** A destination with several endpoints, through the whole proxy: judged by what each endpoint received. */
import { describe, expect, test } from "vitest";
import type { PolicyFile } from "../../src/config/schema.ts";
import { certificate, certificateFile } from "../kit/certificates.ts";
import { eventually } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import { answer, type Origin, ok, reset, scriptedOrigin, silence } from "../kit/origin.ts";
import { startProxy, type TestProxy } from "../kit/proxy.ts";

type DestinationFile = NonNullable<PolicyFile["destinations"]>[number];

const HOST = "api.test";
const CALL = `GET http://${HOST}/ HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;
const BALANCE = { eject_after: 2, eject_for: "1h", eject_percent: 100 };
const RETRY = { max_retries: 2, backoff: { base: "1ms", max: "1ms" }, budget: { ratio: 1, floor: 10 } };
const bad = answer("HTTP/1.1 503 x\r\nContent-Length: 3\r\n\r\nbad");

/** Endpoints at `origins`, the first number their priority. */
const at = (...origins: readonly (readonly [number, Origin])[]) =>
  origins.map(([priority, { port }]) => ({ host: "127.0.0.1", port, priority }));

/** A proxy before one destination; every name resolves to `addresses`, or to one where nobody is. */
const proxyBefore = (
  destination: Omit<DestinationFile, "name" | "hosts">,
  addresses: Record<string, string> = {},
): Promise<TestProxy> =>
  startProxy({
    policy: { destinations: [{ name: "api", hosts: [HOST], ...destination }] },
    lookup: async (host) => [{ address: addresses[host] ?? "192.0.2.1", family: 4 }],
  });

/** As many calls, one after another; what came back of each: a body, or the error's code. */
async function callTimes(count: number, proxy: TestProxy): Promise<string[]> {
  const answers: string[] = [];
  while (answers.length < count) {
    const response = await proxy.ask(CALL);
    answers.push(field(response, "outrider-error") ?? response.body.toString());
  }
  return answers;
}

/** How often one was ejected. */
const ejections = (proxy: TestProxy): number =>
  proxy.proxy.telemetry.metrics().destinations[0]!.stages.ejections;

test("an endpoint is dialled, and what it receives is addressed to the host that was called", async () => {
  await using origin = await scriptedOrigin([ok("here")]);
  await using proxy = await proxyBefore({ endpoints: at([0, origin]) });
  const response = await proxy.ask(CALL.replace(" http://api.test/", " http://api.test/x?y"));
  expect(response.body.toString()).toBe("here");
  expect(origin.requests[0]!.startLine).toBe("GET /x?y HTTP/1.1");
  expect(field(origin.requests[0]!, "host")).toBe(HOST);
});

test("connections are kept for each endpoint apart", async () => {
  await using a = await scriptedOrigin([ok("a")]);
  await using b = await scriptedOrigin([ok("b")]);
  await using proxy = await proxyBefore({
    endpoints: at([0, a], [0, b]),
    balance: { algorithm: "round_robin" },
  });
  expect((await callTimes(6, proxy)).filter((body) => body === "a")).toHaveLength(3);
  expect([a.requests.length, b.requests.length]).toEqual([3, 3]);
  expect([a.connections.length, b.connections.length]).toEqual([1, 1]);
});

test("the name in the certificate is that of the host that was called, whatever is dialled", async () => {
  await using good = await scriptedOrigin([ok("good")], { tls: certificate("server") });
  await using impostor = await scriptedOrigin([ok("impostor")], { tls: certificate("wrong-host") });
  const tls = { ca: certificateFile("ca"), originate: true };
  await using right = await proxyBefore({ endpoints: at([0, good]), tls });
  expect(await callTimes(1, right)).toEqual(["good"]);
  await using wrong = await proxyBefore({ endpoints: at([0, impostor]), tls });
  expect(await callTimes(1, wrong)).toEqual(["CERTIFICATE_REJECTED"]);
  expect(impostor.requests).toHaveLength(0);
});

describe("a retry goes to another endpoint", () => {
  test("of the same priority, then of the next, each asked once", async () => {
    await using a = await scriptedOrigin([bad]);
    await using b = await scriptedOrigin([reset()]);
    await using c = await scriptedOrigin([ok("saved")]);
    await using proxy = await proxyBefore({ endpoints: at([0, a], [0, b], [1, c]), retry: RETRY });
    expect(await callTimes(1, proxy)).toEqual(["saved"]);
    expect([a, b, c].map(({ requests }) => requests.length)).toEqual([1, 1, 1]);
  });

  test("when the first cannot be reached at all", async () => {
    const gone = await scriptedOrigin([ok()]);
    const endpoints = at([0, gone]);
    await gone[Symbol.asyncDispose]();
    await using backup = await scriptedOrigin([ok("backup")]);
    await using proxy = await proxyBefore({ endpoints: [...endpoints, ...at([1, backup])], retry: RETRY });
    expect(await callTimes(1, proxy)).toEqual(["backup"]);
  });

  test("when the first is silent for longer than an attempt may take", async () => {
    await using a = await scriptedOrigin([silence()]);
    await using b = await scriptedOrigin([ok("b")]);
    const retry = { ...RETRY, on: ["per_try_timeout" as const] };
    await using proxy = await proxyBefore({ endpoints: at([0, a], [1, b]), retry, per_try_timeout: "2s" });
    expect(await callTimes(1, proxy)).toEqual(["b"]);
    await a.connections[0]!.gone();
  });
});

describe("an endpoint that fails", () => {
  test("is ejected, and the next priority takes all calls", async () => {
    await using a = await scriptedOrigin([reset()]);
    await using b = await scriptedOrigin([ok("b")]);
    await using proxy = await proxyBefore({ endpoints: at([0, a], [1, b]), balance: BALANCE });
    expect(await callTimes(2, proxy)).toEqual(["UPSTREAM_RESET", "UPSTREAM_RESET"]);
    const before = a.connections.length;
    expect(await callTimes(5, proxy)).toEqual(Array(5).fill("b"));
    expect(a.connections).toHaveLength(before);
    expect(ejections(proxy)).toBe(1);
  });

  test("by breaking off its answers is ejected too", async () => {
    await using a = await scriptedOrigin([reset("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")]);
    await using b = await scriptedOrigin([ok("b")]);
    await using proxy = await proxyBefore({ endpoints: at([0, a], [1, b]), balance: BALANCE });
    for (let i = 0; i < 2; i++) {
      using client = await proxy.client();
      await client.write(CALL);
      await client.seen("half");
      expect(await client.gone()).toBe("reset");
    }
    await eventually("both calls to be over", () => proxy.proxy.telemetry.metrics().openCalls === 0);
    expect(await callTimes(3, proxy)).toEqual(["b", "b", "b"]);
    expect(a.requests).toHaveLength(2);
  });

  test("is kept where the others of its priority could not be spared", async () => {
    await using a = await scriptedOrigin([bad]);
    await using b = await scriptedOrigin([bad]);
    await using proxy = await proxyBefore({
      endpoints: at([0, a], [0, b]),
      balance: { ...BALANCE, eject_percent: 50 },
    });
    expect(await callTimes(20, proxy)).toEqual(Array(20).fill("bad"));
    expect(ejections(proxy)).toBe(1);
  });

  test("like all others is used all the same, so that one that recovers is found", async () => {
    await using a = await scriptedOrigin([bad, bad, ok("a")]);
    await using b = await scriptedOrigin([bad, bad, ok("b")]);
    await using proxy = await proxyBefore({ endpoints: at([0, a], [1, b]), balance: BALANCE });
    expect(await callTimes(4, proxy)).toEqual(["bad", "bad", "bad", "bad"]);
    expect(await callTimes(1, proxy)).not.toContain("bad");
  });
});

describe("S2: the guard is asked about the address of each endpoint that is dialled", () => {
  test("an endpoint that resolves to the metadata service is refused, whatever host was called", async () => {
    await using good = await scriptedOrigin([ok("good")]);
    const endpoints = [{ host: "evil.test", port: good.port, priority: 0 }];
    await using proxy = await proxyBefore(
      { endpoints },
      { "evil.test": "169.254.169.254", [HOST]: "127.0.0.1" },
    );
    expect(await callTimes(1, proxy)).toEqual(["ADDRESS_DENIED"]);
    expect(good.connections).toHaveLength(0);
  });

  test("and one that is written as its address too", async () => {
    await using proxy = await proxyBefore({ endpoints: [{ host: "169.254.169.254", port: 80 }] });
    expect(await callTimes(1, proxy)).toEqual(["ADDRESS_DENIED"]);
    expect(proxy.proxy.upstream.stats().open).toBe(0);
  });
});
