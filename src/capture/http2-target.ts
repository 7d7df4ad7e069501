/**
 * Where a request of HTTP/2 wants to go, and with which method: its pseudo-headers, read once and strictly (RFC 9113 §8.3.1). What
 * HTTP/1.1 refuses is refused here too, so that no translation makes a request valid. Pure.
 */
import { EgressError } from "../errors.ts";
import type { Scheme } from "../exchange.ts";
import { isMethod } from "../http1/request-head.ts";
import type { HeaderList } from "../http2/fields.ts";
import { type ListenerRole, parseAuthority, type Target } from "./target.ts";

/** What a header list asks for. */
export interface Http2Target extends Target {
  readonly method: string;
}

/** Origin form of visible ASCII without a fragment, as the HTTP/1.1 codec demands (RFC 9112 §3.2.1, RFC 9113 §8.3.1). */
const ORIGIN_FORM = /^\/[\x21\x22\x24-\x7e]*$/;

const refuse = (why: string): EgressError => new EgressError("BAD_TARGET", why);

/** The target of a well-formed request that came over a connection of `role`. */
export function http2TargetOf(
  list: Pick<HeaderList, "pseudo" | "host">,
  role: ListenerRole,
  targetBytesMax: number,
): Http2Target | EgressError {
  const { pseudo } = list;
  const method = pseudo.get(":method") ?? "";
  if (!isMethod(method)) return new EgressError("BAD_REQUEST", "unknown method");
  // Neither is offered (RFC 9113 §8.5, RFC 8441 §3): a tunnel inside of a connection for requests would pass the acl unseen.
  if (method === "CONNECT" || pseudo.has(":protocol")) return refuse("CONNECT over HTTP/2");
  if (pseudo.has(":status")) return new EgressError("BAD_REQUEST", ":status in a request");
  const scheme = (pseudo.get(":scheme") ?? "").toLowerCase();
  if (scheme !== "http" && scheme !== "https") return refuse("no scheme, or none of HTTP");
  const path = pseudo.get(":path") ?? "";
  if (path.length > targetBytesMax)
    return new EgressError("TARGET_TOO_LONG", `target of ${path.length} bytes`);
  if (!ORIGIN_FORM.test(path) && !(path === "*" && method === "OPTIONS")) {
    return refuse("the path is not in origin form");
  }
  const named = authorityOf(list, scheme);
  if (named instanceof EgressError) return named;
  switch (role.kind) {
    case "local":
      return { method, scheme: role.scheme, host: role.host, port: role.port, path };
    case "proxy":
    case "transparent":
      return { method, scheme, ...named, path };
    case "tcp":
      return refuse("this port carries no HTTP");
    case "tunnel":
      if (named.host !== role.host || named.port !== role.port || scheme !== role.scheme) {
        const asked = `${scheme}://${named.host}:${named.port}`;
        return new EgressError("MISDIRECTED", `${asked} in a tunnel to ${role.host}:${role.port}`);
      }
      return { method, scheme, ...named, path };
  }
}

/** The authority that `:authority` and Host name; both have to name the same (RFC 9113 §8.3.1). */
function authorityOf(
  { pseudo, host }: Pick<HeaderList, "pseudo" | "host">,
  scheme: Scheme,
): { host: string; port: number } | EgressError {
  const defaultPort = scheme === "https" ? 443 : 80;
  const authority = pseudo.get(":authority") ?? host;
  if (authority === null) return refuse("neither :authority nor host");
  const named = parseAuthority(authority, defaultPort);
  if (named instanceof EgressError || host === null || host === authority) return named;
  const other = parseAuthority(host, defaultPort);
  if (other instanceof EgressError) return other;
  if (other.host === named.host && other.port === named.port) return named;
  return refuse("host and :authority differ");
}
