/** How one destination is reached, and what of a call that decides: the address to dial, the connections that may be shared, the version. Pure. */
import type { Destination, RoutePolicy } from "../config/types.ts";
import type { EgressRequest } from "../exchange.ts";
import type { DialTarget } from "./dial.ts";
import type { VetAddress } from "./resolve.ts";
import type { TlsClient } from "./tls.ts";

/** How one destination is reached. */
export interface Reach {
  /** Where calls are dialled instead of at their own host and port; `null` for the latter. */
  readonly address: { readonly host: string; readonly port: number } | null;
  /** Calls that the application makes in plain HTTP are made in TLS; port 80 becomes 443. */
  readonly originate: boolean;
  /** The bytes of a CONNECT leave over TLS of our own: `protocol: tcp` with `tls.originate`. */
  readonly tunnelOverTls: boolean;
  /** What is spoken to the upstream. */
  readonly httpVersion: Destination["httpVersion"];
  /** The client for `https`; asked for when the first such call comes. Throws an EgressError when there can be none. */
  readonly tls: () => TlsClient;
  readonly policy: Pick<RoutePolicy, "dnsTimeoutMs" | "connectTimeoutMs" | "tlsTimeoutMs" | "idleTimeoutMs">;
  /** Whether `host`, dialled for this destination, may be at an address. */
  readonly vet: VetAddress;
}

/** What a call is spoken in: fixed, or HTTP/2 if the server's TLS agrees to it (ALPN, RFC 7301). */
export type Spoken = "http1" | "http2" | "negotiated";

/** Methods that may be sent twice without harm (RFC 9110 §9.2.2). */
const IDEMPOTENT: ReadonlySet<string> = new Set([
  "GET",
  "HEAD",
  "OPTIONS",
  "TRACE",
  "PUT",
  "DELETE",
  "PROPFIND",
  "REPORT",
  "SEARCH",
  "QUERY",
]);

/**
 * The version for `request`. `auto` is what the application speaks, as far as the upstream speaks it too; without TLS nobody can be
 * asked, so that HTTP/2 means prior knowledge (RFC 9113 §3.3). Upgrade exists in HTTP/1.1 only (RFC 9113 §8.6).
 */
export function spokenTo(
  httpVersion: Destination["httpVersion"],
  request: Pick<EgressRequest, "httpVersion" | "scheme" | "upgrade">,
): Spoken {
  if (request.upgrade !== "" || httpVersion === "http1") return "http1";
  if (httpVersion === "http2") return "http2";
  if (request.httpVersion === 1) return "http1";
  return request.scheme === "https" ? "negotiated" : "http2";
}

/** Whether the call can be sent again on another connection although the first may have taken it. */
export function isRepeatable({ body, method }: EgressRequest): boolean {
  return body.whole !== null && IDEMPOTENT.has(method);
}

/** The call as it leaves a destination that originates TLS. A tunnel is the application's own business, TLS included. */
export function overTls(request: EgressRequest): EgressRequest {
  if (request.scheme === "https" || request.method === "CONNECT") return request;
  return request.with({ scheme: "https", port: request.port === 80 ? 443 : request.port });
}

/**
 * Where and how to dial for `request`.
 * @param alpn the protocols that TLS offers, in the order of preference; none for a tunnel
 * @throws EgressError IDENTITY_UNAVAILABLE
 */
export function dialTarget(reach: Reach, request: EgressRequest, alpn: readonly string[]): DialTarget {
  // A tunnel that was asked for by name is the application's own business, TLS included.
  const address = request.address ?? reach.address;
  const isTunnel = request.method === "CONNECT";
  const tls = isTunnel ? reach.tunnelOverTls && request.destination !== "" : request.scheme === "https";
  return {
    host: address?.host ?? request.host,
    // 0: the call's own, as it leaves.
    port: address === null || address.port === 0 ? request.port : address.port,
    name: request.host,
    tls: tls ? reach.tls() : null,
    alpn,
    timeouts: reach.policy,
    vet: reach.vet,
  };
}

/**
 * Connections are shared only by calls that would make the same one: same peer, same name verified, same identity shown.
 * @throws EgressError IDENTITY_UNAVAILABLE
 */
export function poolKey(reach: Reach, request: EgressRequest): string {
  const address = request.address ?? reach.address;
  const host = address === null ? request.host : `${request.host}@${address.host}:${address.port}`;
  return request.scheme === "https" ? `${host}:${request.port}/${reach.tls().id}` : `${host}:${request.port}`;
}
