/** Faults of upstreams and of what lies before them: they break, fall silent, close too early, and show certificates that are no good. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { type CertificateName, certificate, certificateFile } from "../kit/certificates.ts";
import { eventually, passUntil } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import {
  answerAndClose,
  apart,
  type Origin,
  ok,
  type Step,
  scriptedOrigin,
  silence,
  step,
} from "../kit/origin.ts";
import { startProgram } from "../kit/program.ts";
import { get, type ProxyOptions, post, startProxy, type TestProxy } from "../kit/proxy.ts";
import { rawClient } from "../kit/raw-client.ts";

const breaksOff = (head: string, how: "end" | "reset"): Step =>
  step(async ({ peer }) => {
    await peer.write(`${head}${"x".repeat(5000)}`);
    await apart();
    if (how === "end") peer.halfClose();
    else peer.reset();
    return false;
  });

describe("fault 5: an upstream that breaks in the middle of its body", () => {
  test.each([
    ["by a reset", "reset", "Content-Length: 100000\r\n\r\n"],
    ["by its end", "end", "Content-Length: 100000\r\n\r\n"],
    ["by a reset, in a chunk", "reset", "Transfer-Encoding: chunked\r\n\r\nffff\r\n"],
    ["by its end, in a chunk", "end", "Transfer-Encoding: chunked\r\n\r\nffff\r\n"],
  ] as const)(
    "fault 5: %s breaks the application's answer, and one line says how far it came",
    async (_, how, fields) => {
      const folder = mkdtempSync(join(tmpdir(), "outrider-fault-"));
      const file = join(folder, "log");
      try {
        await using origin = await scriptedOrigin([breaksOff(`HTTP/1.1 200 OK\r\n${fields}`, how)]);
        await using program = await startProgram({ policy: { telemetry: { destination: `file:${file}` } } });
        using client = await rawClient(program.port);
        await client.write(get(origin));
        expect(await client.gone()).toBe("reset");
        const lines = (): Record<string, unknown>[] =>
          readFileSync(file, "utf8")
            .split("\n")
            .filter((line) => line.includes('"event":"call"'))
            .map((line) => JSON.parse(line));
        await eventually("the line", () => lines().length > 0);
        expect(lines()).toHaveLength(1);
        expect(lines()[0]).toMatchObject({
          status: 200,
          error: "UPSTREAM_ABORTED",
          blame: "upstream",
          bytes_down: 5000,
        });
        expect(program.alive).toBe(true);
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  );
});

describe("fault 6: an upstream that is half open: it takes everything and says nothing", () => {
  test.each<[string, (origin: Origin) => string]>([
    ["GET", (origin) => get(origin)],
    ["POST", (origin) => post(origin, "body")],
  ])(
    "fault 6: %s gets 504 in the time that is configured, and the connection is not kept",
    async (_, request) => {
      const clock = new VirtualClock();
      await using origin = await scriptedOrigin([silence(), ok("fresh")]);
      await using proxy = await startProxy({ clock, policy: { defaults: { idle_timeout: "5s" } } });
      using client = await proxy.client();
      await client.write(request(origin));
      await origin.connected(1);
      await origin.connections[0]!.seen("\r\n\r\n");
      const { value, elapsedMs } = await passUntil(clock, client.response(), { stepMs: 250 });
      expect([value.status, field(value, "outrider-error")]).toEqual([504, "UPSTREAM_TIMEOUT"]);
      expect(elapsedMs).toBeGreaterThanOrEqual(5000);
      await origin.connections[0]!.gone();
      expect(proxy.proxy.upstream.stats()).toMatchObject({ open: 0 });
      expect((await client.ask(get(origin))).body.toString()).toBe("fresh");
    },
  );

  test("fault 6: one that falls silent in the pool costs the next call its time and no more", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([ok("first"), silence(), ok("third")]);
    await using proxy = await startProxy({ clock, policy: { defaults: { idle_timeout: "5s" } } });
    using client = await proxy.client();
    await client.ask(get(origin));
    await client.write(get(origin));
    await eventually("the second call to be there", () => origin.requests.length === 2);
    const { value } = await passUntil(clock, client.response(), { stepMs: 250 });
    expect(value.status).toBe(504);
    expect((await client.ask(get(origin))).body.toString()).toBe("third");
    expect(origin.connections).toHaveLength(2);
  });
});

describe("fault 7: upstreams that close the connection that they promised to keep", () => {
  test.each([
    ["in clear text", false],
    ["over TLS", true],
  ])("fault 7: 300 GETs from ten applications at once, %s: no error", async (_, tls) => {
    await using origin = await scriptedOrigin(
      [answerAndClose("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")],
      tls ? { tls: certificate("server") } : {},
    );
    const scheme = tls ? { originate: true, ca: certificateFile("ca") } : { originate: false };
    await using proxy = await startProxy(towards(origin.port, scheme));
    const answers = await Promise.all(
      Array.from({ length: 10 }, async () => {
        using client = await proxy.client();
        const seen: string[] = [];
        for (let call = 0; call < 30; call++) {
          const { status, body } = await client.ask(CALL);
          seen.push(`${status} ${body}`);
        }
        return seen;
      }),
    );
    expect(new Set(answers.flat())).toEqual(new Set(["200 ok"]));
    expect(origin.requests).toHaveLength(300);
  });
});

const towards = (port: number, tls: object): ProxyOptions => ({
  policy: {
    destinations: [{ name: "api", hosts: ["api.test"], upstream: { host: "127.0.0.1", port }, tls }],
  },
});
const CALL = "GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n";

/** An origin whose certificate changes while it serves; each new handshake sees the one that holds then. */
async function rotatingOrigin(): Promise<
  { port: number; use(name: CertificateName): void } & AsyncDisposable
> {
  const server = createTlsServer(certificate("server"), (socket) => {
    socket.on("error", () => {});
    socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
  });
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const sockets = new Set<{ destroy(): void }>();
  server.on("connection", (socket) => sockets.add(socket));
  return {
    port: (server.address() as { port: number }).port,
    use: (name) => server.setSecureContext(certificate(name)),
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe("fault 10: an upstream whose certificate goes bad while it serves", () => {
  const secured = (port: number, clock: VirtualClock): Promise<TestProxy> =>
    startProxy({ clock, ...towards(port, { originate: true, ca: certificateFile("ca") }) });

  test.each<[string, CertificateName]>([
    ["expired", "expired"],
    ["for another host", "wrong-host"],
    ["of another authority", "untrusted"],
    ["not valid yet", "not-yet-valid"],
  ])("fault 10: %s: the connection that was verified serves on, a new one is refused", async (_, bad) => {
    const clock = new VirtualClock();
    await using origin = await rotatingOrigin();
    await using proxy = await secured(origin.port, clock);
    using client = await proxy.client();
    expect((await client.ask(CALL)).status).toBe(200);
    origin.use(bad);
    expect((await client.ask(CALL)).status).toBe(200);
    // Longer than idle connections are kept: the next call needs a new one.
    await clock.advance(10_000);
    const refused = await client.ask(CALL);
    expect([refused.status, field(refused, "outrider-error")]).toEqual([502, "CERTIFICATE_REJECTED"]);
    origin.use("server");
    expect((await client.ask(CALL)).status).toBe(200);
  });

  test("fault 10: a new certificate of the same authority is taken without a word", async () => {
    const clock = new VirtualClock();
    await using origin = await rotatingOrigin();
    await using proxy = await secured(origin.port, clock);
    using client = await proxy.client();
    await client.ask(CALL);
    origin.use("rsa-2048");
    await clock.advance(10_000);
    expect((await client.ask(CALL)).status).toBe(200);
  });
});
