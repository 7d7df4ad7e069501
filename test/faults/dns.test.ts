/** Faults of name resolution: names that do not exist, servers that fail, are slow or say nothing, and answers that change. */
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import type { Address, Lookup } from "../../src/upstream/resolve.ts";
import { eventually } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import { answer, ok, reset, type Step, scriptedOrigin, silence } from "../kit/origin.ts";
import { type ProxyOptions, startProxy } from "../kit/proxy.ts";

const getFrom = (host: string, port: number): string =>
  `GET http://${host}:${port}/ HTTP/1.1\r\nHost: ${host}:${port}\r\n\r\n`;

const connectTo = (host: string, port: number): string =>
  `CONNECT ${host}:${port} HTTP/1.1\r\nHost: ${host}:${port}\r\n\r\n`;

const v4 = (address: string): Address => ({ address, family: 4 });
const LOOPBACK: readonly Address[] = [v4("127.0.0.1")];

/** What getaddrinfo(3) reports, as Node passes it on. */
const fails = (code: string) => Object.assign(new Error(`getaddrinfo ${code}`), { code });

/** Resolves after `ms` of virtual time. */
const later = <T>(clock: VirtualClock, ms: number, value: T): Promise<T> =>
  new Promise((resolve) => clock.after(ms, () => resolve(value)));

const never = <T>(): Promise<T> => new Promise<T>(() => undefined);

/** Bound of a call whose name cannot be resolved, milliseconds of virtual time. */
const IN_TIME_MS = 6000;

/** Asks, and lets time pass up to the bound once the names have been looked up: what takes longer never comes. */
async function inTime<T>(clock: VirtualClock, asked: Promise<T>, isLookedUp: () => boolean): Promise<T> {
  await eventually("the look-up", isLookedUp);
  await clock.advance(IN_TIME_MS - 1);
  return asked;
}

describe("fault 8: a name that cannot be resolved", () => {
  test.each<[string, (clock: VirtualClock) => Lookup, number, string]>([
    ["does not exist (NXDOMAIN)", () => () => Promise.reject(fails("ENOTFOUND")), 502, "DNS_FAILED"],
    ["has a server that fails (SERVFAIL)", () => () => Promise.reject(fails("EAI_AGAIN")), 502, "DNS_FAILED"],
    ["has no address", () => async () => [], 502, "DNS_FAILED"],
    ["gets no answer", () => () => never(), 504, "DNS_TIMEOUT"],
    ["gets its answer too late", (clock) => () => later(clock, 30_000, LOOPBACK), 504, "DNS_TIMEOUT"],
  ])("fault 8: %s: the call ends in time and says why", async (_, lookupOn, status, code) => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([ok()]);
    const lookup = lookupOn(clock);
    for (const request of [getFrom("gone.test", origin.port), connectTo("gone.test", 443)]) {
      let lookedUp = 0;
      await using proxy = await startProxy({
        clock,
        lookup: (host) => {
          lookedUp += 1;
          return lookup(host);
        },
      });
      const response = await inTime(clock, proxy.ask(request), () => lookedUp > 0);
      expect([response.status, field(response, "outrider-error")]).toEqual([status, code]);
    }
    expect(origin.connections).toHaveLength(0);
  });

  test("fault 8: an answer that is slow, but comes in time, is used", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([ok("slow")]);
    let lookedUp = 0;
    await using proxy = await startProxy({
      clock,
      lookup: () => {
        lookedUp += 1;
        return later(clock, 1500, LOOPBACK);
      },
    });
    const asked = proxy.ask(getFrom("slow.test", origin.port));
    await eventually("the look-up", () => lookedUp > 0);
    await clock.advance(1500);
    expect((await asked).body.toString()).toBe("slow");
  });

  test("fault 8: tries of a retry policy end within the call's timeout", async () => {
    const clock = new VirtualClock();
    let lookedUp = 0;
    await using proxy = await startProxy({
      clock,
      lookup: () => {
        lookedUp += 1;
        return never();
      },
      policy: { defaults: { timeout: "5s", retry: { max_retries: 9, on: ["connect_failure"] } } },
    });
    const asked = proxy.ask(getFrom("gone.test", 80));
    expect((await inTime(clock, asked, () => lookedUp > 0)).status).toBe(504);
  });

  test("fault 8: calls to other hosts do not wait for it", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([ok("other")]);
    const asked: string[] = [];
    await using proxy = await startProxy({
      clock,
      lookup: async (host) => {
        asked.push(host);
        return host === "other.test" ? LOOPBACK : never();
      },
    });
    const stuck = Array.from({ length: 64 }, (_, i) => proxy.ask(getFrom(`gone-${i % 32}.test`, 80)));
    // No virtual time passes: whatever waited for a name would wait for ever.
    for (let i = 0; i < 3; i++) {
      expect((await proxy.ask(getFrom("other.test", origin.port))).body.toString()).toBe("other");
    }
    const gone = () => asked.filter((host) => host !== "other.test");
    // Calls that want the same name at the same time ask once.
    await eventually(
      "all names to be looked up",
      () => gone().length === 32 && proxy.proxy.telemetry.metrics().openCalls === 64,
    );
    await clock.advance(IN_TIME_MS - 1);
    expect(new Set((await Promise.all(stuck)).map(({ status }) => status))).toEqual(new Set([504]));
    expect(gone()).toHaveLength(32);
  });

  test("fault 8: the next call asks again: a failure is not remembered", async () => {
    await using origin = await scriptedOrigin([ok("back")]);
    const answers: (() => Promise<readonly Address[]>)[] = [
      () => Promise.reject(fails("ENOTFOUND")),
      () => Promise.reject(fails("EAI_AGAIN")),
      async () => LOOPBACK,
    ];
    await using proxy = await startProxy({ lookup: () => answers.shift()!() });
    const statuses: number[] = [];
    for (let i = 0; i < 3; i++) {
      statuses.push((await proxy.ask(getFrom("flapping.test", origin.port))).status);
    }
    expect(statuses).toEqual([502, 502, 200]);
  });
});

describe("fault 9: a name that answers differently the second time (rebinding)", () => {
  // 0.0.0.0 connects to this host on Linux, and no exception of these policies admits it: a guard that fails reaches the origin.
  const forbidden: readonly Address[] = [v4("0.0.0.0")];

  /** Answers `first`, and from then on `then`. */
  function turning(first: readonly Address[], then: readonly Address[]) {
    let asked = 0;
    return {
      lookup: async () => (asked++ === 0 ? first : then),
      get asked() {
        return asked;
      },
    };
  }

  const refusal = async (proxy: Awaited<ReturnType<typeof startProxy>>, request: string) => {
    const response = await proxy.ask(request);
    return [response.status, field(response, "outrider-error")];
  };

  test("fault 9: the control: where the policy admits 0.0.0.0 it is reached", async () => {
    await using origin = await scriptedOrigin([ok("reached")]);
    await using proxy = await startProxy({
      lookup: async () => forbidden,
      policy: { acl: { allow_addresses: ["0.0.0.0"] } },
    });
    expect((await proxy.ask(getFrom("any.test", origin.port))).body.toString()).toBe("reached");
  });

  test("fault 9: one connection asks once, and dials what it was told then", async () => {
    await using origin = await scriptedOrigin([ok("first")]);
    const dns = turning(LOOPBACK, forbidden);
    await using proxy = await startProxy({ lookup: dns.lookup });
    expect((await proxy.ask(getFrom("turning.test", origin.port))).body.toString()).toBe("first");
    expect(dns.asked).toBe(1);
    expect(origin.connections).toHaveLength(1);
  });

  test("fault 9: the next connection asks again and is refused", async () => {
    await using origin = await scriptedOrigin([
      answer("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
    ]);
    const dns = turning(LOOPBACK, forbidden);
    await using proxy = await startProxy({ lookup: dns.lookup });
    const request = getFrom("turning.test", origin.port);
    expect((await proxy.ask(request)).status).toBe(200);
    expect(await refusal(proxy, request)).toEqual([403, "ADDRESS_DENIED"]);
    expect(dns.asked).toBe(2);
    expect(origin.connections).toHaveLength(1);
  });

  const retrying = (perTry: string): NonNullable<ProxyOptions["policy"]> => ({
    defaults: {
      per_try_timeout: perTry,
      retry: {
        max_retries: 2,
        on: [503, "reset_before_response", "per_try_timeout"],
        backoff: { base: "1ms", max: "1ms" },
        budget: { floor: 9 },
      },
    },
  });

  test.each<[string, Step, string, number]>([
    ["a reset", reset(), "off", 403],
    ["silence", silence(), "100ms", 403],
    // The connection is still there and its address was admitted.
    [
      "a status on a connection that is kept",
      answer("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"),
      "off",
      200,
    ],
  ])("fault 9: so does another try, after %s", async (_, first, perTry, status) => {
    await using origin = await scriptedOrigin([first, ok()]);
    const dns = turning(LOOPBACK, forbidden);
    await using proxy = await startProxy({ lookup: dns.lookup, policy: retrying(perTry) });
    expect((await proxy.ask(getFrom("turning.test", origin.port))).status).toBe(status);
    // On a machine that is busy the first try may be given up before it has connected.
    expect(origin.connections.length).toBeLessThanOrEqual(1);
  });

  test("fault 9: a tunnel asks for itself", async () => {
    await using origin = await scriptedOrigin([ok()]);
    const dns = turning(LOOPBACK, forbidden);
    await using proxy = await startProxy({ lookup: dns.lookup });
    expect((await proxy.ask(getFrom("turning.test", origin.port))).status).toBe(200);
    expect(await refusal(proxy, connectTo("turning.test", 443))).toEqual([403, "ADDRESS_DENIED"]);
  });

  test("fault 9: one bad answer among good ones is refused, wherever it stands", async () => {
    await using origin = await scriptedOrigin([ok()]);
    const request = getFrom("mixed.test", origin.port);
    for (const answers of [
      [...LOOPBACK, ...forbidden],
      [...forbidden, ...LOOPBACK],
      // Behind the last address that would be tried.
      [...Array<Address>(40).fill(v4("127.0.0.1")), ...forbidden],
    ]) {
      await using proxy = await startProxy({ lookup: async () => answers });
      expect(await refusal(proxy, request)).toEqual([403, "ADDRESS_DENIED"]);
    }
    expect(origin.connections).toHaveLength(0);
  });
});
