/** TLS that the application speaks itself, opened with a certificate of the sandbox's own CA. */
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { isIP } from "node:net";
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import type { PolicyFile } from "../../src/config/schema.ts";
import { certificate, certificateFile } from "../kit/certificates.ts";
import { eventually, passUntil } from "../kit/eventually.ts";
import { field, readResponse } from "../kit/message.ts";
import { type Origin, ok, reset, type Step, scriptedOrigin, step } from "../kit/origin.ts";
import { Peer } from "../kit/peer.ts";
import { startProxy, type TestProxy } from "../kit/proxy.ts";
import type { Client } from "../kit/raw-client.ts";

const HOST = "api.test";
const LOOKUP = async () => [{ address: "127.0.0.1", family: 4 as const }];

interface SceneOptions {
  /** More keys of the destination. */
  readonly more?: object;
  /** More of the policy. */
  readonly policy?: Omit<PolicyFile, "version" | "destinations">;
  readonly certificateOf?: "server" | "untrusted";
  readonly clock?: VirtualClock;
  readonly hosts?: string[];
}

/** An origin that speaks TLS, and a proxy that looks inside calls to it. */
class Scene {
  readonly proxy: TestProxy;
  readonly origin: Origin;

  constructor(proxy: TestProxy, origin: Origin) {
    this.proxy = proxy;
    this.origin = origin;
  }

  static async start(
    script: readonly Step[],
    { more, policy, certificateOf = "server", clock, hosts = [HOST] }: SceneOptions = {},
  ): Promise<Scene> {
    const origin = await scriptedOrigin(script, { tls: certificate(certificateOf) });
    const destination = {
      name: "api",
      hosts,
      tls: { intercept: true, originate: false, ca: certificateFile("ca") },
      ...more,
    };
    const proxy = await startProxy({
      policy: { ...policy, destinations: [destination] },
      lookup: LOOKUP,
      ...(clock === undefined ? {} : { clock }),
    });
    return new Scene(proxy, origin);
  }

  /** An open tunnel to the origin under the name `host`. */
  async tunnel(host = HOST): Promise<Client> {
    const client = await this.proxy.client();
    await client.write(`CONNECT ${host}:${this.origin.port} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    expect((await readResponse(client, "CONNECT")).status).toBe(200);
    return client;
  }

  /** TLS in a tunnel, as an application that trusts the sandbox's CA speaks it. */
  async secured(options: ConnectionOptions = {}, host = HOST): Promise<TLSSocket> {
    const { socket } = await this.tunnel(host);
    return connect({
      socket,
      servername: isIP(host) === 0 ? host : "",
      host,
      ca: this.proxy.authority!.certificatePem,
      ...options,
    });
  }

  get(path = "/", host = HOST): string {
    return `GET ${path} HTTP/1.1\r\nHost: ${host}:${this.origin.port}\r\n\r\n`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxy[Symbol.asyncDispose]();
    await this.origin[Symbol.asyncDispose]();
  }
}

describe("inside TLS that is opened", () => {
  test("requests are governed like plain ones, one after the other", async () => {
    await using scene = await Scene.start([reset(), ok("second"), ok("third")], {
      more: { retry: { max_retries: 1 } },
    });
    const socket = await scene.secured();
    const peer = new Peer(socket);
    await once(socket, "secureConnect");
    expect(socket.authorized).toBe(true);
    await peer.write(scene.get("/a?b=%2F"));
    const response = await readResponse(peer);
    expect([response.status, response.body.toString()]).toEqual([200, "second"]);
    await peer.write(scene.get("/again"));
    expect((await readResponse(peer)).body.toString()).toBe("third");
    const lines = scene.origin.requests.map(({ startLine }) => startLine);
    expect(lines).toEqual(["GET /a?b=%2F HTTP/1.1", "GET /a?b=%2F HTTP/1.1", "GET /again HTTP/1.1"]);
  });

  test("HTTP/2 is spoken with an application that offers it", async () => {
    await using scene = await Scene.start([ok("over two")]);
    const socket = await scene.secured({ ALPNProtocols: ["h2", "http/1.1"] });
    await once(socket, "secureConnect");
    expect(socket.alpnProtocol).toBe("h2");
    const session = connectHttp2(`https://${HOST}:${scene.origin.port}`, { createConnection: () => socket });
    const stream = session.request({ ":path": "/x" });
    const [head] = await once(stream, "response");
    expect(head[":status"]).toBe(200);
    expect((await stream.setEncoding("latin1").toArray()).join("")).toBe("over two");
    expect(scene.origin.requests[0]!.startLine).toBe("GET /x HTTP/1.1");
    session.destroy();
  });

  test("plain HTTP is governed too", async () => {
    await using scene = await Scene.start([ok()], { more: { access: "allow" } });
    using client = await scene.tunnel();
    // The origin speaks TLS only, so that the call fails there; what counts is that it was read.
    expect((await client.ask(scene.get())).status).toBe(502);
  });

  test("S4: a request that names another host is refused, and the upstream gets nothing", async () => {
    await using scene = await Scene.start([ok()]);
    const peer = new Peer(await scene.secured());
    await peer.write(`GET / HTTP/1.1\r\nHost: other.test\r\n\r\n`);
    const response = await readResponse(peer);
    expect([response.status, field(response, "outrider-error")]).toEqual([421, "MISDIRECTED"]);
    expect(scene.origin.connections).toEqual([]);
  });

  test("S9: an upstream whose certificate does not verify is an error to the application, never a connection", async () => {
    await using scene = await Scene.start([ok()], { certificateOf: "untrusted" });
    const peer = new Peer(await scene.secured());
    await peer.write(scene.get());
    const response = await readResponse(peer);
    expect([response.status, field(response, "outrider-error")]).toEqual([502, "CERTIFICATE_REJECTED"]);
    expect(scene.origin.requests).toEqual([]);
  });

  test("S8: a response that breaks off does not end cleanly", async () => {
    await using scene = await Scene.start([
      reset("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
    ]);
    const peer = new Peer(await scene.secured());
    await peer.write(scene.get());
    await peer.until("abc\r\n");
    await eventually("the connection to break", () => peer.parting !== null);
    expect(peer.parting).toBe("reset");
    expect(peer.received).not.toContain("0\r\n\r\n");
  });

  test("a protocol can be switched, and bytes pass both ways", async () => {
    const echo = step(async ({ peer }) => {
      await peer.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
      await peer.write(await peer.take(5));
      return false;
    });
    await using scene = await Scene.start([echo]);
    const peer = new Peer(await scene.secured());
    await peer.write(
      `GET / HTTP/1.1\r\nHost: ${HOST}:${scene.origin.port}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n`,
    );
    expect((await readResponse(peer)).status).toBe(101);
    await peer.write("hello");
    expect((await peer.take(5)).toString()).toBe("hello");
  });

  test("an address gets a certificate for the address", async () => {
    await using scene = await Scene.start([ok("by address")], { hosts: ["127.0.0.1"] });
    const socket = await scene.secured({}, "127.0.0.1");
    const peer = new Peer(socket);
    await once(socket, "secureConnect");
    expect(socket.getPeerCertificate().subjectaltname).toBe("IP Address:127.0.0.1");
    await peer.write(scene.get("/", "127.0.0.1"));
    expect((await readResponse(peer)).body.toString()).toBe("by address");
  });

  test("a call is no tunnel to the limits", async () => {
    await using scene = await Scene.start([ok()], { policy: { limits: { tunnels: 1 } } });
    const peers = await Promise.all([scene.secured(), scene.secured()]);
    for (const peer of peers.map((socket) => new Peer(socket))) {
      await peer.write(scene.get());
      expect((await readResponse(peer)).status).toBe(200);
    }
    expect(scene.proxy.proxy.listener.open().tunnels).toBe(0);
  });
});

describe("what is not opened", () => {
  test("is a host that no destination names: its own certificate arrives", async () => {
    await using scene = await Scene.start([ok("blind")]);
    const socket = await scene.secured({ ca: certificate("ca").cert }, "localhost");
    const peer = new Peer(socket);
    await once(socket, "secureConnect");
    expect(socket.getPeerCertificate().subjectaltname).toContain("DNS:*.wild.test");
    await peer.write(scene.get("/", "localhost"));
    expect((await readResponse(peer)).body.toString()).toBe("blind");
  });

  test("is refused before a tunnel is promised when the acl denies it", async () => {
    await using scene = await Scene.start([ok()], { more: { access: "deny" } });
    const authority = `${HOST}:${scene.origin.port}`;
    const response = await scene.proxy.ask(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    expect([response.status, field(response, "outrider-error")]).toEqual([403, "DENIED"]);
    expect(scene.origin.connections).toEqual([]);
  });
});

describe("a tunnel that is intercepted passes nothing unread:", () => {
  test.each([
    ["bytes of another protocol", "SSH-2.0-x\r\n"],
    ["a record that is no ClientHello", "\x16\x03\x01\x00\x04\x02\x00\x00\x00"],
    ["a record of an unknown version", "\x16\x04"],
  ])("%s break it, and nothing is dialled", async (_what, bytes) => {
    await using scene = await Scene.start([ok()]);
    using client = await scene.tunnel();
    await client.write(bytes);
    await eventually("the tunnel to break", () => client.parting !== null);
    expect(client.parting).toBe("reset");
    expect(scene.origin.connections).toEqual([]);
  });

  test.each([
    ["silence", ""],
    ["half of a ClientHello", "\x16\x03\x01\x02\x00\x01\x00"],
    ["S16: a ClientHello that is never finished", "\x16\x03"],
  ])("%s breaks it when the time for the handshake is over", async (_what, bytes) => {
    const clock = new VirtualClock();
    await using scene = await Scene.start([ok()], { clock, policy: { limits: { handshake_timeout: "5s" } } });
    using client = await scene.tunnel();
    if (bytes !== "") await client.write(bytes);
    const { elapsedMs } = await passUntil(
      clock,
      eventually("the tunnel to break", () => client.parting !== null),
    );
    expect(elapsedMs).toBeGreaterThanOrEqual(5000);
    expect(scene.origin.connections).toEqual([]);
  });

  test("S16: a handshake that is never finished ends in time", async () => {
    const clock = new VirtualClock();
    await using scene = await Scene.start([ok()], { clock });
    using client = await scene.tunnel();
    // A whole ClientHello, whose answer is never answered.
    const { hello } = await helloOf();
    await client.write(hello);
    const { elapsedMs } = await passUntil(
      clock,
      eventually("the tunnel to break", () => client.parting !== null),
    );
    expect(elapsedMs).toBeGreaterThanOrEqual(5000);
    expect(client.received).not.toBe("");
  });
});

describe("an application that does not accept the certificate", () => {
  test("is not passed by, and is reported once with the host", async () => {
    await using scene = await Scene.start([ok()]);
    for (const _ of [1, 2]) {
      const socket = await scene.secured({ ca: certificate("ca").cert });
      const [error] = await once(socket, "error");
      expect((error as NodeJS.ErrnoException).code).toMatch(/CERT|SELF_SIGNED|UNABLE/);
    }
    const refusals = () => scene.proxy.proxy.telemetry.metrics().interceptionRefusals;
    await eventually("both refusals to be counted", () => refusals() === 2);
    expect(scene.origin.connections).toEqual([]);
  });
});

describe("a proxy that drains", () => {
  test("ends a connection inside TLS that serves nothing", async () => {
    await using scene = await Scene.start([ok()]);
    const peer = new Peer(await scene.secured());
    await peer.write(scene.get());
    await readResponse(peer);
    await scene.proxy.lifecycle.drain(Number.POSITIVE_INFINITY);
    await eventually("the connection to end", () => peer.parting !== null);
    expect(peer.parting).toBe("end");
  });
});

/** The first message of a TLS client. */
async function helloOf(): Promise<{ hello: Buffer }> {
  const { Duplex } = await import("node:stream");
  const { promise, resolve } = Promise.withResolvers<Buffer>();
  const wire = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, written) {
      resolve(chunk);
      written();
    },
  });
  const socket = connect({ socket: wire, servername: HOST });
  socket.on("error", () => {});
  const hello = await promise;
  socket.destroy();
  return { hello };
}
