/** A request for a tunnel in a protocol other than HTTP/1.1, and what is inside of a tunnel. Pure. */
import type { Target, TunnelRole } from "../capture/target.ts";
import type { Scheme } from "../exchange.ts";
import type { RequestHead } from "../http1/request-head.ts";

/** What a tunnel to `target` is to the requests inside of it. */
export function insideOf({ host, port }: Target, scheme: Scheme): TunnelRole {
  return { kind: "tunnel", scheme, host, port };
}

/** The CONNECT that a request for a tunnel in another protocol stands for. */
export function connectTo(host: string, port: number): [RequestHead, Target] {
  const authority = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const head: RequestHead = {
    method: "CONNECT",
    target: authority,
    minor: 1,
    fields: "",
    host: authority,
    bodyLength: 0,
    hasLength: false,
    keepAlive: false,
    expectContinue: false,
    teTrailers: false,
    upgrade: "",
  };
  return [head, { scheme: "http", host, port, path: authority }];
}
