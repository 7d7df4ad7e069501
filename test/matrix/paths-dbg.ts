/**
 * The ways that a call of the matrix can take. A path is `{ name, tls, open }`: whether its origin speaks TLS, and how to get a
 * connection over which calls reach that origin. The first of each kind is direct, and what is observed over it is what all the
 * others have to show.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { certificate, certificateFile } from "../kit/certificates.ts";
import { startProxy, type TestProxy } from "../kit/proxy.ts";
import type { Cell } from "./cells.ts";
import { Http1Client, type Http1Way, type MatrixClient } from "./client.ts";
import { Http2Client } from "./http2-client.ts";

/** Where the origin listens. */
export interface Place {
  readonly port: number;
}

/** A way that is ready. */
export interface OpenPath extends AsyncDisposable {
  connect(): Promise<MatrixClient>;
}

/** See the file's header. */
export interface Path {
  readonly name: string;
  /** Whether the origin speaks TLS, with the certificate for `HOST`. */
  readonly tls: boolean;
  /** Cells that are left out over this way, for a reason that is written beside them. */
  leavesOut?(cell: Cell): boolean;
  open(place: Place): Promise<OpenPath>;
}

/** Whom the certificate of a TLS origin is for. */
export const HOST = "api.test";

const direct: Path = {
  name: "directly",
  tls: false,
  open: async ({ port }) => ({
    connect: async () => http1(await dial(port), { prefix: "", host: `127.0.0.1:${port}` }),
    [Symbol.asyncDispose]: async () => {},
  }),
};

const directTls: Path = {
  name: "directly over TLS",
  tls: true,
  open: async ({ port }) => ({
    connect: async () => http1OverTls(await dial(port)),
    [Symbol.asyncDispose]: async () => {},
  }),
};

/** What is observed over these is right by definition. */
export const DIRECT: readonly Path[] = [direct, directTls];

/** The policy of a proxy whose calls to `HOST` go to `port` on loopback. */
const towards = (port: number, more: object = {}) => ({
  policy: {
    destinations: [
      {
        name: "matrix",
        hosts: [HOST],
        upstream: { host: "127.0.0.1", port },
        tls: { ca: certificateFile("ca") },
        ...more,
      },
    ],
  },
});

const plain: Path = {
  name: "plain: requests to the proxy",
  tls: false,
  open: async ({ port }) => {
    const proxy = await startProxy();
    const host = `127.0.0.1:${port}`;
    return through(proxy, async () => http1(await dial(proxy.port), { prefix: `http://${host}`, host }));
  },
};

const governedTunnel: Path = {
  name: "tunnel: CONNECT to a port of clear text",
  tls: false,
  open: async ({ port }) => {
    const proxy = await startProxy();
    const host = `127.0.0.1:${port}`;
    return through(proxy, async () => http1(await connectThrough(proxy.port, host), { prefix: "", host }));
  },
};

const blindTunnel: Path = {
  name: "tunnel: CONNECT, with TLS inside",
  tls: true,
  open: async ({ port }) => {
    const proxy = await startProxy(towards(port));
    return through(proxy, async () => http1OverTls(await connectThrough(proxy.port, `${HOST}:443`)));
  },
};

const originated: Path = {
  name: "plain, with TLS originated by the proxy",
  tls: true,
  open: async ({ port }) => {
    const proxy = await startProxy(towards(port, { tls: { originate: true, ca: certificateFile("ca") } }));
    return through(proxy, async () =>
      http1(await dial(proxy.port), { prefix: `http://${HOST}`, host: HOST }),
    );
  },
};

/** A tunnel whose TLS the proxy opens, with `speak` inside. */
const intercepted = (name: string, speak: (raw: Socket, ca: string) => Promise<MatrixClient>): Path => ({
  name,
  tls: true,
  open: async ({ port }) => {
    const tls = { intercept: true, originate: false, ca: certificateFile("ca") };
    const proxy = await startProxy(towards(port, { tls }));
    (globalThis as any).theProxy = proxy;
    const ca = proxy.authority!.certificatePem;
    return through(proxy, async () => speak(await connectThrough(proxy.port, `${HOST}:443`), ca));
  },
});

const interceptedHttp1 = intercepted("intercepted, HTTP/1.1 inside", (raw, ca) => http1OverTls(raw, ca));
const interceptedHttp2: Path = {
  ...intercepted("intercepted, HTTP/2 inside", (raw, ca) => http2OverTls(raw, ca)),
  // Refused with 400: Node cannot tell the break of such a stream from its end.
  leavesOut: ({ method, request }) => method === "HEAD" && request === "chunked",
};

/** The ways through the proxy. */
export const PATHS: readonly Path[] = [
  plain,
  governedTunnel,
  blindTunnel,
  originated,
  interceptedHttp1,
  interceptedHttp2,
];

const through = (proxy: TestProxy, connect: () => Promise<MatrixClient>): OpenPath => ({
  connect,
  [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
});

const http1 = (socket: Socket, way: Http1Way): MatrixClient => new Http1Client(socket, socket, way);

/** TLS over `raw`, verified against `ca`. */
function tlsOver(raw: Socket, ca: string, protocol: string): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ socket: raw, servername: HOST, ca, ALPNProtocols: [protocol] }, () => {
      socket.off("error", reject);
      // Errors show in what is read, or in what is not.
      socket.on("error", () => {});
      resolve(socket);
    });
    socket.once("error", reject);
  });
}

async function http1OverTls(raw: Socket, ca = certificate("ca").cert): Promise<MatrixClient> {
  return new Http1Client(await tlsOver(raw, ca, "http/1.1"), raw, { prefix: "", host: HOST });
}

async function http2OverTls(raw: Socket, ca: string): Promise<MatrixClient> {
  return new Http2Client(await tlsOver(raw, ca, "h2"), raw, HOST);
}

function dial(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true, allowHalfOpen: true }, () => {
      socket.off("error", reject);
      // Errors show in what is read, or in what is not.
      socket.on("error", () => {});
      resolve(socket);
    });
    socket.once("error", reject);
  });
}

/** A connection through a tunnel that the proxy at `port` has opened to `authority`. */
async function connectThrough(port: number, authority: string): Promise<Socket> {
  const socket = await dial(port);
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  let said = "";
  while (!said.endsWith("\r\n\r\n")) {
    const [bytes] = (await once(socket, "data")) as [Buffer];
    said += bytes.latin1Slice();
  }
  if (!said.startsWith("HTTP/1.1 200 ")) throw new Error(`the tunnel was refused: ${said}`);
  return socket;
}
