/**
 * The resolved configuration: what rooms read. Plain JSON, every value present, every default already applied; the cold path
 * reads exactly this from the file that `outrider compile` wrote. The policy file's own shape is in `schema.ts`.
 *
 * Names carry their unit. 0 means "off" only where the comment says so.
 */

import type { RoutePolicy } from "./stage-types.ts";

export type * from "./stage-types.ts";

/** Bumped when this shape changes: a compiled file of another format is refused with the remedy "compile again". */
export const CONFIG_FORMAT = 3;

/** The root. */
export interface Config {
  readonly format: typeof CONFIG_FORMAT;
  /** First 12 hex digits of the SHA-256 of the resolved policy: in every log line, so that a line tells which policy judged it. */
  readonly version: string;
  readonly onProxyFailure: "open" | "closed";
  readonly listen: Listen;
  readonly limits: Limits;
  readonly acl: Acl;
  /** What sandboxes share; `null`: nothing. */
  readonly fleet: FleetOptions | null;
  /** In order of the file. The last one is the implicit `default`, with no hosts: it takes what no other does. */
  readonly destinations: readonly Destination[];
  readonly telemetry: TelemetryConfig;
}

/** Where the proxy listens. */
export interface Listen {
  /** 127.0.0.1 unless `unsafe_bind` names another on purpose (SECURITY.md, S1). */
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  /** Takes connections that were redirected to it, whatever they speak (policy file: `listen.transparent_port`); 0 for none. */
  readonly transparentPort: number;
}

/** Every bound of the data path; policy file: `limits`. */
export interface Limits {
  /** Request line or status line plus all fields, bytes. Overflow: 431, or 502 UPSTREAM_INVALID. */
  readonly headBytesMax: number;
  /** Field lines in a head. Overflow: the same. */
  readonly headerCountMax: number;
  /** Request target, bytes. Overflow: 414. */
  readonly targetBytesMax: number;
  /** Client connections at once. Overflow: the new one gets 503 and is closed. */
  readonly connectionsMax: number;
  /** Tunnels (CONNECT, Upgrade) at once, all destinations together. Overflow: 503. */
  readonly tunnelsMax: number;
  /** From a connection's first byte (or the previous response) to the end of the head. Overflow: 408 and close. */
  readonly headTimeoutMs: number;
  /** A client connection without a request. Overflow: closed. */
  readonly keepAliveMs: number;
  /** Idle upstream connections kept, all destinations together. Overflow: the oldest is closed. */
  readonly idleUpstreamMax: number;
  /** A TLS handshake with the application, from the promise of its tunnel on. Overflow: reset. */
  readonly handshakeTimeoutMs: number;
  /** HTTP/2 streams at once on one connection, of the application's and of an upstream's. Overflow: the stream is refused; towards an upstream, another connection is dialled. */
  readonly streamsMax: number;
  /** A tunnel (CONNECT, Upgrade, `protocol: tcp`) through which no byte passes. Overflow: reset on both sides. */
  readonly tunnelIdleMs: number;
  /** Bytes of one direction of one exchange that wait for their receiver before the sender is held back. No overflow. */
  readonly exchangeBufferBytes: number;
  /** Bytes that wait in all exchanges together. Overflow: new calls get 503 until less than nine tenths wait. */
  readonly totalBufferBytes: number;
}

/** Which targets may be called; policy file: `acl`. */
export interface Acl {
  readonly default: "allow" | "deny";
  /** observe: nothing is refused or reported; report: what would be refused is noted in the record; enforce: it is refused. */
  readonly mode: "observe" | "report" | "enforce";
  /** Whether addresses of private ranges (RFC 1918, RFC 4193, CGNAT) may be dialled. */
  readonly privateRanges: "allow" | "deny";
  /** `CIDR` or `CIDR:port`: exceptions from the guard on addresses, for every destination. */
  readonly allowAddresses: readonly string[];
  /** Judged before a destination's own word; the first that matches a call decides. */
  readonly rules: readonly AccessRule[];
}

/** One rule of the acl. An empty list matches everything; all lists have to match. */
export interface AccessRule {
  /** Unique; logs call it `acl.rules.NAME`. */
  readonly name: string;
  readonly action: "allow" | "deny";
  /** As `Destination.hosts`. */
  readonly hosts: readonly string[];
  readonly ports: readonly number[];
  readonly methods: readonly string[];
  /** Path prefixes on segment boundaries. A tunnel that is not looked into has no path: a rule with paths does not match it. */
  readonly paths: readonly string[];
  /** Names of functions or services (AWS_LAMBDA_FUNCTION_NAME, K_SERVICE, OUTRIDER_IDENTITY), `*` at either end. */
  readonly identities: readonly string[];
}

/** What sandboxes share, over a store off the hot path; policy file: `fleet`. */
export interface FleetOptions {
  /** `redis://host:port[/db]` or `rediss://…`; the password comes from `passwordEnv`. */
  readonly store: string;
  /** Name of the environment variable that holds the password; "" for none. */
  readonly passwordEnv: string;
  /** Prefix of every key. */
  readonly prefix: string;
  /** One command. */
  readonly timeoutMs: number;
  /** What limits and breakers do without the store: `open` lets calls pass on local state alone, `closed` refuses what needs a share. */
  readonly onFailure: "open" | "closed";
  /** `host:port` of a service that speaks Envoy's rate limit protocol (envoy.service.ratelimit.v3); "" for none. */
  readonly rateLimitService: string;
  /** `domain` of its requests. */
  readonly rateLimitDomain: string;
}

/** A destination with its defaults applied and its routes resolved. */
export interface Destination {
  readonly name: string;
  /** Lower case; exact names, `*.suffix` (sub-domains at any depth, not the suffix itself), IP addresses, or `*`. Empty only for the implicit default. */
  readonly hosts: readonly string[];
  /** `tcp`: the local port carries bytes that nobody reads. */
  readonly protocol: "http" | "tcp";
  /** Empty: any port. */
  readonly ports: readonly number[];
  /** The acl's word for this destination: allowed because the file names it, unless `access: deny`. */
  readonly access: "allow" | "deny";
  /** Exceptions from the guard on addresses, for this destination. */
  readonly allowAddresses: readonly string[];
  /** Port on the listener's host that forwards origin-form requests to `upstream`; 0 for none. */
  readonly localPort: number;
  /** Where calls really go; `null` keeps the target's own host and port. Required with `localPort`. */
  readonly upstream: { readonly host: string; readonly port: number } | null;
  /** Several places to dial instead of one; empty: `upstream`, or the target itself. */
  readonly endpoints: readonly Endpoint[];
  readonly balance: BalanceOptions;
  /** How TLS towards the upstream is spoken, and where; `null`: Node's roots, no client certificate, where the target's scheme says so. */
  readonly tls: DestinationTls | null;
  /** What is spoken to the upstream. `auto`: what the application speaks, as far as the upstream speaks it too. */
  readonly httpVersion: "auto" | "http1" | "http2";
  /** Applies when no route matches. */
  readonly policy: RoutePolicy;
  /** First match wins. */
  readonly routes: readonly Route[];
}

/** How TLS towards the upstream is spoken. Files are read when the proxy loads; a missing one is an error then, not at a call. */
export interface DestinationTls {
  /** Calls that the application makes in plain HTTP (or, with `protocol: tcp`, its bytes) leave over TLS. */
  readonly originate: boolean;
  /** TLS that the application speaks itself is opened with a certificate of the sandbox's own CA, and governed. */
  readonly intercept: boolean;
  /** `file:/path`; "" for none. Certificate chain, PEM; may hold the key too. */
  readonly clientCert: string;
  /** `file:/path`; "" when the key is in `clientCert` or there is no client certificate. */
  readonly clientKey: string;
  /** `file:/path` of the only roots that are trusted; "" for Node's own roots. */
  readonly ca: string;
  /** Name sent as SNI and verified; "" for the target's host. */
  readonly serverName: string;
  readonly minVersion: "TLSv1.2" | "TLSv1.3";
}

/** A part of a destination with other policies. */
export interface Route {
  readonly match: {
    /** Path prefix on segment boundaries (`/v1` matches `/v1` and `/v1/x`, not `/v10`); "" for any. */
    readonly path: string;
    /** Empty: any. */
    readonly methods: readonly string[];
  };
  readonly policy: RoutePolicy;
}

/** A place where a destination's calls may be dialled; the host that is called and verified stays. Policy file: `endpoints`. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  /** Lower is tried first; the next is used when all of the one before are ejected. */
  readonly priority: number;
  readonly weight: number;
}

/** Which endpoint takes a call, and which takes none; policy file: `balance`. */
export interface BalanceOptions {
  readonly algorithm: "least_request" | "ewma" | "round_robin";
  /** Failures in a row that eject an endpoint; 0: none is. */
  readonly ejectAfter: number;
  readonly ejectForMs: number;
  /** Part of a priority's endpoints that may be ejected, percent. */
  readonly ejectPercentMax: number;
}

/** Policy file: `telemetry`. */
export interface TelemetryConfig {
  /** all: a line per call; sampled: `sampleRatio` of the good calls and every failed one; off: none. */
  readonly accessLog: "all" | "sampled" | "off";
  readonly sampleRatio: number;
  /** One line per invocation. */
  readonly summary: boolean;
  /** Time that telemetry may hold the end of an invocation, at most. */
  readonly flushCapMs: number;
  /** stdout (the platform's log), stderr, or `file:/path`. */
  readonly destination: string;
}
