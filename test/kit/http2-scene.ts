/** An HTTP/2 session through a proxy, by each way in which HTTP/2 comes to it. */
import type { ClientHttp2Session } from "node:http2";
import { connect as connectTls } from "node:tls";
import type { VirtualClock } from "../../src/clock.ts";
import type { PolicyFile } from "../../src/config/schema.ts";
import { certificate, certificateFile } from "./certificates.ts";
import { http2Session, tunnelSocket } from "./http2-client.ts";
import { type Origin, type Step, scriptedOrigin } from "./origin.ts";
import { startProxy, type TestProxy } from "./proxy.ts";

/** The host that every scene calls. */
export const HOST = "api.test";
const LOOKUP = async () => [{ address: "127.0.0.1", family: 4 as const }];

/** Everything has a default. */
export interface SceneOptions {
  /** More keys of the destination. */
  readonly more?: object;
  readonly policy?: Omit<PolicyFile, "version" | "destinations">;
  readonly clock?: VirtualClock;
}

/** How HTTP/2 comes to the proxy. */
export type Carrier = "the proxy's own port" | "a local port" | "a tunnel" | "TLS that is opened";

/** A session to the origin, and what calls it has to name. */
export interface Scene extends AsyncDisposable {
  readonly session: ClientHttp2Session;
  readonly proxy: TestProxy;
  readonly authority: string;
}

/** An HTTP/2 session through a proxy in front of `origin`, which speaks what `more` says. */
export async function scene(
  carrier: Carrier,
  origin: { readonly port: number },
  { more, policy, clock }: SceneOptions = {},
): Promise<Scene> {
  const authority = `${HOST}:${origin.port}`;
  const destination = {
    name: "api",
    hosts: [HOST],
    http_version: "http1" as const,
    ...(carrier === "a local port" ? { local_port: 1024, upstream: { host: HOST, port: origin.port } } : {}),
    ...(carrier === "TLS that is opened"
      ? { tls: { intercept: true, originate: false, ca: certificateFile("ca") } }
      : {}),
    ...more,
  };
  const proxy = await startProxy({
    policy: { ...policy, destinations: [destination] },
    lookup: LOOKUP,
    ...(clock === undefined ? {} : { clock }),
  });
  const session = await sessionOver(carrier, proxy, authority);
  return {
    session,
    proxy,
    authority,
    [Symbol.asyncDispose]: async () => {
      session.destroy();
      await proxy[Symbol.asyncDispose]();
    },
  };
}

async function sessionOver(
  carrier: Carrier,
  proxy: TestProxy,
  authority: string,
): Promise<ClientHttp2Session> {
  if (carrier === "the proxy's own port") return http2Session(authority, proxy.port);
  if (carrier === "a local port") return http2Session(authority, proxy.localPorts.get("api")!);
  const socket = await tunnelSocket(proxy.port, authority);
  if (carrier === "a tunnel") return http2Session(authority, socket);
  const secured = connectTls({
    socket,
    servername: HOST,
    ca: proxy.authority!.certificatePem,
    ALPNProtocols: ["h2"],
  });
  await new Promise<void>((resolve, reject) => {
    secured.once("secureConnect", resolve);
    secured.once("error", reject);
  });
  return http2Session(authority, secured, "https");
}

/** An origin that speaks HTTP/1.1 in what `carrier` needs. */
export const originFor = (carrier: Carrier, script: readonly Step[]): Promise<Origin> =>
  scriptedOrigin(script, carrier === "TLS that is opened" ? { tls: certificate("server") } : {});
