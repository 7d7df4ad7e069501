/** The sandbox's authority: what its certificates say, how strictly they are taken, and that its keys stay where they are. */
import { execFileSync, spawn } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { connect, type PeerCertificate, TLSSocket } from "node:tls";
import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { systemClock, VirtualClock } from "../../src/clock.ts";
import {
  type Authority,
  CONTEXTS_MAX,
  createAuthority,
  LONG_VALIDITY_MS,
  SANDBOX_VALIDITY_MS,
} from "../../src/identity/authority.ts";
import { identityProblem, type ServerCertificate } from "../../src/upstream/server-identity.ts";
import { folder, has, openssl } from "./openssl.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** A TLS server that is whoever it is asked for, as interception is. */
async function serve(authority: Authority, name: string): Promise<{ port: number } & AsyncDisposable> {
  const sockets = new Set<Socket>();
  const secureContext = authority.contextFor(name);
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    const secure = new TLSSocket(socket, { isServer: true, secureContext });
    secure.on("error", () => {});
    secure.on("data", () => secure.end("HTTP/1.0 200 OK\r\n\r\nwell"));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

/** The certificate that a client that trusts `ca` and nothing else gets and verifies; throws the client's error. */
async function handshake(
  authority: Authority,
  name: string,
  options: { ca?: string; session?: Buffer } = {},
): Promise<{ peer: PeerCertificate; protocol: string | null; session: Buffer | null; reused: boolean }> {
  await using server = await serve(authority, name);
  const isAddress = /^[0-9.]+$|:/.test(name);
  const socket = connect({
    host: "127.0.0.1",
    port: server.port,
    ca: options.ca ?? authority.certificatePem,
    servername: isAddress ? "" : name,
    ...(isAddress ? { checkServerIdentity: () => undefined } : {}),
    ...(options.session === undefined ? {} : { session: options.session }),
  });
  let session: Buffer | null = null;
  socket.on("session", (ticket) => (session = ticket));
  await once(socket, "secureConnect");
  const [peer, protocol, reused] = [
    socket.getPeerCertificate(),
    socket.getProtocol(),
    socket.isSessionReused(),
  ];
  // Tickets come before the first answer.
  socket.write("GET");
  await once(socket, "data");
  socket.destroy();
  return { peer, protocol, session, reused };
}

const served = async (authority: Authority, name: string): Promise<X509Certificate> =>
  new X509Certificate((await handshake(authority, name)).peer.raw);

const NAMES = ["api.example", "_a.b-c.example", "127.0.0.2", "::1", "2001:db8::8:1"];
/** 71 characters: no room in a common name. */
const LONG_NAME = `${"l".repeat(63)}.example`;

describe("S10 the authority's certificate", () => {
  const authority = createAuthority(systemClock);
  const certificate = new X509Certificate(authority.certificatePem);

  test("is an authority, signs itself, and verifies", () => {
    expect(certificate.ca).toBe(true);
    expect(certificate.issuer).toBe(certificate.subject);
    expect(certificate.subject).toMatch(/^CN=Outrider sandbox CA [0-9a-f]{8}$/);
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(certificate.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: "prime256v1" });
  });

  test("has another key, name and serial number in each sandbox", () => {
    const other = new X509Certificate(createAuthority(systemClock).certificatePem);
    expect(other.serialNumber).not.toBe(certificate.serialNumber);
    expect(other.fingerprint256).not.toBe(certificate.fingerprint256);
    expect(other.subject).not.toBe(certificate.subject);
    expect(certificate.verify(other.publicKey)).toBe(false);
  });

  test.skipIf(!has("openssl", "version"))("says what it may, critically, by OpenSSL's reading", () => {
    const text = openssl(["x509", "-noout", "-text"], authority.certificatePem);
    expect(text).toMatch(/Version: 3 /);
    expect(text).toMatch(/Signature Algorithm: ecdsa-with-SHA256/);
    expect(text).toMatch(/X509v3 Basic Constraints: critical\s+CA:TRUE, pathlen:0\n/);
    expect(text).toMatch(/X509v3 Key Usage: critical\s+Certificate Sign, CRL Sign\n/);
    expect(text).toMatch(/X509v3 Subject Key Identifier:\s+([0-9A-F]{2}:){19}/);
    expect(text).not.toMatch(/\(Negative\)/);
  });

  test("is valid for 24 hours in all, begun two hours before, unless the host lives longer", () => {
    const wallMs = Date.UTC(2026, 10, 25, 12, 0, 0, 777);
    const valid = (validityMs?: number): number[] => {
      const { certificatePem } = createAuthority(new VirtualClock(0, wallMs), validityMs);
      const { validFromDate, validToDate } = new X509Certificate(certificatePem);
      return [validFromDate.getTime(), validToDate.getTime()];
    };
    const from = Date.UTC(2026, 10, 25, 10);
    expect(valid()).toEqual([from, from + 24 * HOUR_MS]);
    expect(valid(SANDBOX_VALIDITY_MS)).toEqual(valid());
    expect(valid(LONG_VALIDITY_MS)).toEqual([from, from + 397 * 24 * HOUR_MS]);
  });
});

const source = (path: string): string => JSON.stringify(new URL(`../../src/${path}`, import.meta.url).href);

/** Makes an authority that has served, and writes the heap to the file that it is given. */
const SNAPSHOT = `
  import { writeHeapSnapshot } from "node:v8";
  import { systemClock } from ${source("clock.ts")};
  import { createAuthority } from ${source("identity/authority.ts")};
  globalThis.authority = createAuthority(systemClock);
  for (let n = 0; n < 10; n++) authority.contextFor("n" + n + ".example");
  writeHeapSnapshot(process.argv[1]);
`;

describe("S10 keys", () => {
  test("are in nothing that can be printed, listed or serialised", () => {
    const authority = createAuthority(systemClock);
    authority.contextFor("api.example");
    const shown = inspect(authority, { depth: 10, showHidden: true, getters: true });
    expect(shown).toContain("BEGIN CERTIFICATE");
    expect(shown).not.toMatch(/PRIVATE|KeyObject/);
    expect(JSON.stringify(authority)).not.toContain("PRIVATE");
    expect(Reflect.ownKeys(authority).sort()).toEqual(["certificatePem", "notAfterMs"]);
  });

  test("are in no heap snapshot, as a crash may leave one", () => {
    using at = folder();
    const file = join(at.path, "all.heapsnapshot");
    execFileSync(process.execPath, ["--input-type=module", "-e", SNAPSHOT, file]);
    const snapshot = readFileSync(file, "latin1");
    expect(snapshot).toContain("BEGIN CERTIFICATE");
    expect(snapshot).not.toContain("PRIVATE KEY");
  });
});

describe("a server's certificate", () => {
  test.each([...NAMES, LONG_NAME])("is taken by a client that trusts the authority, for %s", async (name) => {
    const authority = createAuthority(systemClock);
    const { peer, protocol } = await handshake(authority, name);
    expect(protocol).toBe("TLSv1.3");
    // As strict as this proxy is itself towards upstreams.
    const isAddress = /^[0-9.]+$|:/.test(name);
    expect(identityProblem(name, isAddress, peer as unknown as ServerCertificate)).toBeNull();
    expect(
      identityProblem(isAddress ? "127.0.0.9" : "x.example", isAddress, peer as unknown as ServerCertificate),
    ).toBe("certificate is for other names");
  });

  test("is refused by a client that trusts another sandbox's authority", async () => {
    const ca = createAuthority(systemClock).certificatePem;
    await expect(handshake(createAuthority(systemClock), "api.example", { ca })).rejects.toMatchObject({
      code: expect.stringMatching(/UNABLE_TO|SELF_SIGNED|SIGNATURE/),
    });
  });

  test("names the server in the subject when it fits, and always as alternative name", async () => {
    const authority = createAuthority(systemClock);
    const short = await served(authority, "api.example");
    expect([short.subject, short.subjectAltName]).toEqual(["CN=api.example", "DNS:api.example"]);
    const long = await served(authority, LONG_NAME);
    expect([long.subject || "", long.subjectAltName]).toEqual(["", `DNS:${LONG_NAME}`]);
    const address = await served(authority, "127.0.0.2");
    expect([address.subject, address.subjectAltName]).toEqual(["CN=127.0.0.2", "IP Address:127.0.0.2"]);
  });

  test("is for servers only, is no authority, and points to its issuer", async () => {
    const authority = createAuthority(systemClock);
    const issuer = new X509Certificate(authority.certificatePem);
    const certificate = await served(authority, "api.example");
    expect(certificate.ca).toBe(false);
    expect(certificate.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1"]);
    expect(certificate.checkIssued(issuer)).toBe(true);
    expect(certificate.verify(issuer.publicKey)).toBe(true);
  });

  test.skipIf(!has("openssl", "version"))(
    "passes OpenSSL's strict verification by name and purpose",
    async () => {
      using at = folder();
      const authority = createAuthority(systemClock);
      const ca = at.file("ca.pem", authority.certificatePem);
      for (const name of [...NAMES, LONG_NAME]) {
        const leaf = (await served(authority, name)).toString();
        const by = /^[0-9.]+$|:/.test(name) ? "-verify_ip" : "-verify_hostname";
        const strict = ["verify", "-x509_strict", "-check_ss_sig", "-purpose", "sslserver", "-CAfile", ca];
        expect(openssl([...strict, by, name], leaf)).toBe("stdin: OK\n");
        const text = openssl(["x509", "-noout", "-text"], leaf);
        expect(text).toMatch(/X509v3 Key Usage: critical\s+Digital Signature\n/);
        expect(text).toMatch(name === LONG_NAME ? /Alternative Name: critical\s/ : /Alternative Name: *\n/);
        expect(() => openssl([...strict, "-verify_hostname", "other.example"], leaf)).toThrow(
          /hostname mismatch/i,
        );
      }
    },
  );

  test.skipIf(!has("openssl", "version"))("satisfies openssl s_client", async () => {
    using at = folder();
    const authority = createAuthority(systemClock);
    const ca = at.file("ca.pem", authority.certificatePem);
    await using server = await serve(authority, "api.example");
    const args = [
      "s_client",
      "-connect",
      `127.0.0.1:${server.port}`,
      "-servername",
      "api.example",
      "-CAfile",
      ca,
    ];
    const client = spawn("openssl", [
      ...args,
      "-verify_return_error",
      "-verify_hostname",
      "api.example",
      "-quiet",
    ]);
    let output = "";
    client.stdout.on("data", (chunk) => (output += chunk));
    client.stdin.end("GET / HTTP/1.0\r\n\r\n");
    await once(client, "close");
    expect(output).toBe("HTTP/1.0 200 OK\r\n\r\nwell");
  });

  test.each(["*.example", "A.example", "", "a b", "[::1]"])("is not made for %j", (name) => {
    expect(() => createAuthority(systemClock).contextFor(name)).toThrow(RangeError);
  });

  test("TLS 1.1 is not spoken", async () => {
    const authority = createAuthority(systemClock);
    await using server = await serve(authority, "api.example");
    const socket = connect({
      host: "127.0.0.1",
      port: server.port,
      ca: authority.certificatePem,
      servername: "api.example",
      minVersion: "TLSv1.1",
      maxVersion: "TLSv1.1",
      ciphers: "DEFAULT@SECLEVEL=0",
    });
    await expect(once(socket, "secureConnect")).rejects.toMatchObject({
      code: expect.stringMatching(/PROTOCOL_VERSION|ECONNRESET|UNSUPPORTED_PROTOCOL/),
    });
  });

  test("sessions are resumed", async () => {
    const authority = createAuthority(systemClock);
    const first = await handshake(authority, "api.example");
    const second = await handshake(authority, "api.example", { session: first.session! });
    expect([first.reused, second.reused]).toEqual([false, true]);
  });
});

describe("contexts", () => {
  const START_MS = Date.UTC(2026, 10, 25, 12);
  const at = (validityMs?: number): { clock: VirtualClock; authority: Authority } => {
    const clock = new VirtualClock(0, START_MS);
    return { clock, authority: createAuthority(clock, validityMs) };
  };
  /** What the context's certificate says; its own clock is the tests', so a client cannot be asked. */
  const validity = async (authority: Authority, name: string): Promise<[fromMs: number, toMs: number]> => {
    await using server = await serve(authority, name);
    const socket = connect({ host: "127.0.0.1", port: server.port, rejectUnauthorized: false });
    await once(socket, "secureConnect");
    const { validFromDate, validToDate } = new X509Certificate(socket.getPeerCertificate().raw);
    socket.destroy();
    return [validFromDate.getTime(), validToDate.getTime()];
  };

  test("are made once for a name", () => {
    const { authority } = at();
    expect(authority.contextFor("a.example")).toBe(authority.contextFor("a.example"));
    expect(authority.contextFor("a.example")).not.toBe(authority.contextFor("b.example"));
  });

  test("are for certificates that began five minutes ago and end with the authority", async () => {
    const { authority } = at();
    expect(await validity(authority, "a.example")).toEqual([START_MS - 5 * MINUTE_MS, authority.notAfterMs]);
    expect(authority.notAfterMs).toBe(START_MS + 22 * HOUR_MS);
  });

  test("of a long-lived host end after a day, and are made anew an hour before", async () => {
    const { clock, authority } = at(LONG_VALIDITY_MS);
    const first = authority.contextFor("a.example");
    expect((await validity(authority, "a.example"))[1]).toBe(START_MS + 24 * HOUR_MS);
    await clock.advance(23 * HOUR_MS);
    expect(authority.contextFor("a.example")).toBe(first);
    await clock.advance(1000);
    expect(authority.contextFor("a.example")).not.toBe(first);
    expect(await validity(authority, "a.example")).toEqual([
      clock.wall() - 5 * MINUTE_MS,
      clock.wall() + 24 * HOUR_MS,
    ]);
  });

  test("are not made anew when nothing would be gained: the authority's own end is near", async () => {
    const { clock, authority } = at();
    await clock.advance(5 * HOUR_MS);
    const context = authority.contextFor("a.example");
    await clock.advance(16.5 * HOUR_MS);
    expect(authority.contextFor("a.example")).toBe(context);
    expect((await validity(authority, "a.example"))[1]).toBe(authority.notAfterMs);
  });

  test("are valid after the clock was set back by an hour, or on by a quarter", async () => {
    let wallMs = START_MS;
    const authority = createAuthority({ ...systemClock, wall: () => wallMs });
    authority.contextFor("a.example");
    for (const stepMs of [-HOUR_MS, 15 * MINUTE_MS]) {
      wallMs = START_MS + stepMs;
      const [fromMs, toMs] = await validity(authority, "a.example");
      expect(fromMs).toBeLessThanOrEqual(wallMs);
      expect(toMs).toBeGreaterThan(wallMs);
    }
  });

  test("never begin before the authority, however far the clock is set back", async () => {
    let wallMs = START_MS;
    const authority = createAuthority({ ...systemClock, wall: () => wallMs });
    wallMs = START_MS - 5 * HOUR_MS;
    expect((await validity(authority, "a.example"))[0]).toBe(START_MS - 2 * HOUR_MS);
    expect(authority.contextFor("a.example")).toBe(authority.contextFor("a.example"));
  });

  test("are bounded: the one that was not asked for the longest is forgotten", () => {
    const { authority } = at();
    const [oldest, asked] = [authority.contextFor("oldest.example"), authority.contextFor("asked.example")];
    for (let n = 0; n < CONTEXTS_MAX - 2; n++) authority.contextFor(`n${n}.example`);
    expect(authority.contextFor("asked.example")).toBe(asked);
    authority.contextFor("one-too-many.example");
    expect(authority.contextFor("asked.example")).toBe(asked);
    expect(authority.contextFor("oldest.example")).not.toBe(oldest);
    expect(CONTEXTS_MAX).toBeLessThanOrEqual(1000);
  });
});
