/**
 * Where a request wants to go: the target of its first line, read once and strictly (RFC 9112 §3.2, RFC 3986 §3.2). Whatever
 * two readers could understand differently is refused. Pure.
 */
import { isIPv6 } from "node:net";
import { EgressError } from "../errors.ts";
import type { Scheme } from "../exchange.ts";
import type { RequestHead } from "../http1/request-head.ts";

/** What a request head names. */
export interface Target {
  readonly scheme: Scheme;
  /** Lower case, no brackets, no trailing dot. */
  readonly host: string;
  readonly port: number;
  /** Origin form, raw; `host:port` for CONNECT. */
  readonly path: string;
}

/**
 * What a connection is for: proxy requests (`proxy`), requests of a tunnel that was opened, all to one host (`tunnel`), one destination
 * (`local`, or `tcp` when it is no HTTP), or whatever the system redirected to us (`transparent`).
 */
export type ListenerRole =
  | { readonly kind: "proxy" }
  | { readonly kind: "transparent" }
  | TunnelRole
  | {
      readonly kind: "tcp";
      /** The destination's name. */
      readonly destination: string;
      readonly host: string;
      readonly port: number;
    }
  | {
      readonly kind: "local";
      /** The destination's name. */
      readonly destination: string;
      readonly scheme: Scheme;
      readonly host: string;
      readonly port: number;
    };

/** Inside a tunnel: `https` when it was TLS that has been opened. */
export interface TunnelRole {
  readonly kind: "tunnel";
  readonly scheme: Scheme;
  readonly host: string;
  readonly port: number;
}

const ABSOLUTE = /^(https?):\/\/([^/?]*)(.*)$/i;
/** `host`, `host:port`, `[v6]`, `[v6]:port`. A name is letters, digits, hyphen, underscore and dots: no escapes, no user, no zone. */
const AUTHORITY = /^(?:([0-9a-z_](?:[0-9a-z._-]{0,252}))|\[([0-9a-f:.]{2,45})\])(?::([0-9]{1,5}))?$/i;

const refuse = (why: string): EgressError => new EgressError("BAD_TARGET", why);

/** Host and port of an authority. `defaultPort` 0 makes the port obligatory. */
export function parseAuthority(
  text: string,
  defaultPort: number,
): { host: string; port: number } | EgressError {
  const match = AUTHORITY.exec(text);
  if (match === null) return refuse("malformed authority");
  // Brackets mean IPv6 and nothing else (RFC 3986 §3.2.2): `[10.0.0.1]` and `[name]` are read in two ways.
  if (match[2] !== undefined && !isIPv6(match[2])) return refuse("no IPv6 address in the brackets");
  const port = match[3] === undefined ? defaultPort : Number(match[3]);
  if (port < 1 || port > 65535) return refuse(match[3] === undefined ? "no port" : "port out of range");
  const name = (match[1] ?? match[2]!).toLowerCase();
  const host = name.endsWith(".") ? name.slice(0, -1) : name;
  if (host === "" || name.includes("..")) return refuse("malformed authority");
  return { host, port };
}

/** The target of a request that came to a listener of `role`. */
export function targetOf(head: RequestHead, role: ListenerRole): Target | EgressError {
  const target = targetFor(head, role);
  if (target instanceof EgressError) return target;
  // RFC 9112 §3.2: HTTP/1.1 without Host is refused, and so is a Host that is no authority.
  if (head.host === null) return head.minor === 1 ? refuse("no Host") : target;
  if (head.host === "" || namedIn(head.target, head.host)) return target;
  const named = parseAuthority(head.host, 80);
  return named instanceof EgressError ? named : target;
}

function targetFor(head: RequestHead, role: ListenerRole): Target | EgressError {
  switch (role.kind) {
    case "proxy":
      return proxyTarget(head);
    case "tunnel":
      return insideTarget(head, role);
    case "local":
      return localTarget(head, role);
    case "transparent":
      return redirectedTarget(head);
    case "tcp":
      return refuse("this port carries no HTTP");
  }
}

/** Whether the authority of an absolute target is `host` to the letter, so that it has been checked with it. Nearly always. */
function namedIn(target: string, host: string): boolean {
  const authorityAt = "http://".length;
  return (
    target.indexOf("/", authorityAt) === authorityAt + host.length &&
    target.startsWith(host, authorityAt) &&
    target.startsWith("http:") &&
    !host.includes("?")
  );
}

function proxyTarget(head: RequestHead): Target | EgressError {
  if (head.method === "CONNECT") return connectTarget(head);
  const match = ABSOLUTE.exec(head.target);
  if (match === null) {
    return refuse(
      "this port takes absolute-form requests and CONNECT; an origin-form request needs a destination's local_port",
    );
  }
  const scheme = match[1]!.toLowerCase() === "https" ? "https" : "http";
  const authority = parseAuthority(match[2]!, scheme === "https" ? 443 : 80);
  if (authority instanceof EgressError) return authority;
  const rest = match[3]!;
  // RFC 9112 §3.2.4: OPTIONS for the server as a whole comes to a proxy as an absolute target without a path.
  const path = rest.startsWith("/") ? rest : rest === "" && head.method === "OPTIONS" ? "*" : `/${rest}`;
  return { scheme, host: authority.host, port: authority.port, path };
}

/** Every request has to name the host that the tunnel was asked for: the acl has judged, and the upstream will get, that one. */
function insideTarget(head: RequestHead, { scheme, host, port }: TunnelRole): Target | EgressError {
  if (!isOriginForm(head)) return refuse("requests inside a tunnel are in origin form");
  const named = parseAuthority(head.host ?? "", scheme === "https" ? 443 : 80);
  if (named instanceof EgressError) return named;
  if (named.host !== host || named.port !== port) {
    return new EgressError("MISDIRECTED", `Host ${named.host}:${named.port} in a tunnel to ${host}:${port}`);
  }
  return { scheme, host, port, path: head.target };
}

/** A plain request that the system redirected: Host is all that says where it was going. */
function redirectedTarget(head: RequestHead): Target | EgressError {
  if (!isOriginForm(head)) return refuse("redirected requests are in origin form");
  const named = parseAuthority(head.host ?? "", 80);
  return named instanceof EgressError ? named : { scheme: "http", ...named, path: head.target };
}

function isOriginForm({ method, target }: RequestHead): boolean {
  return method !== "CONNECT" && (target.startsWith("/") || (target === "*" && method === "OPTIONS"));
}

function connectTarget(head: RequestHead): Target | EgressError {
  const authority = parseAuthority(head.target, 0);
  if (authority instanceof EgressError) return authority;
  // RFC 9110 §9.3.6: content in a CONNECT request has no meaning; bytes behind the head belong to the tunnel.
  if (head.bodyLength !== 0) return refuse("CONNECT with a body");
  return { scheme: "http", host: authority.host, port: authority.port, path: head.target };
}

function localTarget(
  head: RequestHead,
  role: { readonly scheme: Scheme; readonly host: string; readonly port: number },
): Target | EgressError {
  if (head.method === "CONNECT") return refuse("CONNECT to a destination's local port");
  if (isOriginForm(head)) {
    return { scheme: role.scheme, host: role.host, port: role.port, path: head.target };
  }
  return refuse("a destination's local port takes origin-form requests");
}
