/** Faults on purpose through the whole proxy, judged by what the application and the origin see. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Clock, systemClock, VirtualClock } from "../../src/clock.ts";
import { Lifecycle } from "../../src/lifecycle.ts";
import { bind } from "../../src/listener/bind.ts";
import { createProxy } from "../../src/proxy.ts";
import { passUntil } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import { drip, type Origin, ok, reset, scriptedOrigin } from "../kit/origin.ts";
import { get, type ProxyOptions, testConfig } from "../kit/proxy.ts";
import { askOnce, rawClient } from "../kit/raw-client.ts";

type Defaults = NonNullable<NonNullable<ProxyOptions["policy"]>["defaults"]>;

interface Serving {
  readonly file: Exclude<Defaults["fault"], "off" | undefined>;
  /** The environment's word, which the host hands over. */
  readonly allowed?: boolean;
  readonly clock?: Clock;
  /** More keys of `defaults`. */
  readonly more?: Defaults;
}

/** Serves on a free port with `file` as the `fault` of all calls: each is drawn, and the expiry is a day ahead. */
async function serve({ file, allowed = true, clock = systemClock, more = {} }: Serving) {
  const expires = new Date(clock.wall() + 86_400_000).toISOString().replace(/\.\d+/, "");
  const config = testConfig({ defaults: { ...more, fault: { percent: 100, expires, ...file } } });
  const lifecycle = new Lifecycle(clock);
  const binding = await bind("127.0.0.1", 0);
  const { listener, upstream } = createProxy(config, {
    clock,
    lifecycle,
    bindings: [{ binding, role: { kind: "proxy" } }],
    faultsAllowed: allowed,
  });
  return {
    lifecycle,
    get: (origin: Origin) => askOnce(binding.port, get(origin)),
    client: () => rawClient(binding.port),
    [Symbol.asyncDispose]: async () => {
      await listener.drain(clock.now());
      upstream.destroy();
    },
  };
}

describe("S22: faults on purpose", () => {
  const file = { abort: 503 };

  test("S22: happen where the policy and the environment allow them", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await serve({ file });
    const response = await proxy.get(origin);
    expect([response.status, field(response, "outrider-error")]).toEqual([503, "FAULT_INJECTED"]);
    expect(response.body.toString()).toContain("on purpose");
    expect(origin.connections).toHaveLength(0);
  });

  test("S22: do not happen where the policy alone asks for them", async () => {
    await using origin = await scriptedOrigin([ok("untouched")]);
    await using proxy = await serve({ file, allowed: false });
    expect((await proxy.get(origin)).body.toString()).toBe("untouched");
  });

  test("S22: do not happen while the kill switch's file exists, from the next invocation on", async () => {
    const folder = await mkdtemp(join(tmpdir(), "outrider-fault-"));
    try {
      const path = join(folder, "no-faults");
      await using origin = await scriptedOrigin([ok("untouched")]);
      await using proxy = await serve({ file: { ...file, kill_switch: `file:${path}` } });
      proxy.lifecycle.workStarted("a", Number.POSITIVE_INFINITY, "");
      expect((await proxy.get(origin)).status).toBe(503);
      await writeFile(path, "");
      proxy.lifecycle.workStarted("b", Number.POSITIVE_INFINITY, "");
      expect((await proxy.get(origin)).body.toString()).toBe("untouched");
      await rm(path);
      proxy.lifecycle.workStarted("c", Number.POSITIVE_INFINITY, "");
      expect((await proxy.get(origin)).status).toBe(503);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test("S22: end at their expiry", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([ok("untouched")]);
    await using proxy = await serve({ file, clock });
    expect((await proxy.get(origin)).status).toBe(503);
    await clock.advance(86_400_000);
    expect((await proxy.get(origin)).body.toString()).toBe("untouched");
  });
});

describe("what the application meets", () => {
  test("a reset: a refusal that says so, and no connection to the origin", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await serve({ file: { reset: true } });
    const response = await proxy.get(origin);
    expect([response.status, field(response, "outrider-error")]).toEqual([503, "FAULT_INJECTED"]);
    expect(origin.connections).toHaveLength(0);
  });

  test("a TLS failure: the same answer as for a real one", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await serve({ file: { tls_failure: true } });
    const response = await proxy.get(origin);
    expect([response.status, field(response, "outrider-error")]).toEqual([502, "TLS_FAILED"]);
    expect(origin.connections).toHaveLength(0);
  });

  test("a delay: the origin is called when it is over", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([ok("late")]);
    await using proxy = await serve({ file: { delay: "2s" }, clock });
    const { value, elapsedMs } = await passUntil(clock, proxy.get(origin), { stepMs: 100 });
    expect(value.body.toString()).toBe("late");
    expect(elapsedMs).toBeGreaterThanOrEqual(2000);
  });

  test("a delay beyond the timeout: the origin is never called", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await serve({ file: { delay: "2s" }, clock, more: { timeout: "1s" } });
    const { value } = await passUntil(clock, proxy.get(origin), { stepMs: 100 });
    expect([value.status, field(value, "outrider-error")]).toEqual([504, "DEADLINE_EXCEEDED"]);
    await clock.advance(10_000);
    expect(origin.connections).toHaveLength(0);
  });

  test("a slow body: whole, no faster than its rate", async () => {
    const clock = new VirtualClock();
    const body = "0123456789".repeat(10);
    await using origin = await scriptedOrigin([ok(body)]);
    await using proxy = await serve({ file: { body_rate: "50B" }, clock });
    const { value, elapsedMs } = await passUntil(clock, proxy.get(origin), { stepMs: 100 });
    expect(value.body.toString()).toBe(body);
    // 5 bytes at once, the other 95 in 19 pieces each 100 ms later.
    expect(elapsedMs).toBeGreaterThanOrEqual(1900);
  });
});

test("a fault is met by the retry like the upstream's own: it is sent again, and each attempt is drawn anew", async () => {
  const clock = new VirtualClock();
  await using origin = await scriptedOrigin([ok()]);
  const retry = { max_retries: 2, backoff: { base: "1ms", max: "2ms" }, budget: { ratio: 1, floor: 10 } };
  await using proxy = await serve({ file: { tls_failure: true, delay: "1s" }, clock, more: { retry } });
  const { value, elapsedMs } = await passUntil(clock, proxy.get(origin), { stepMs: 100 });
  expect(field(value, "outrider-error")).toBe("TLS_FAILED");
  // Three attempts, each delayed by a second.
  expect(elapsedMs).toBeGreaterThanOrEqual(3000);
  expect(origin.connections).toHaveLength(0);
});

test("the upstream's own faults stay what they are", async () => {
  await using origin = await scriptedOrigin([reset()]);
  await using proxy = await serve({ file: { body_rate: "1B" } });
  expect(field(await proxy.get(origin), "outrider-error")).toBe("UPSTREAM_RESET");
});

describe("S8: a body that is truncated on purpose", () => {
  test.each([
    ["with a length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"],
    ["in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n"],
  ])("S8: %s breaks off behind the bytes that are let through, by a reset", async (_, bytes) => {
    await using origin = await scriptedOrigin([drip(bytes)]);
    await using proxy = await serve({ file: { truncate_after: "4B" } });
    using client = await proxy.client();
    await client.write(get(origin));
    expect(await client.gone()).toBe("reset");
    expect(client.received).toContain("0123");
    expect(client.received).not.toContain("01234");
    expect(client.received).not.toContain("\r\n0\r\n\r\n");
  });
});
