/**
 * A validated policy file → the `Config` that rooms read: levels merged, defaults applied, notations turned into numbers.
 *
 * Pure. Whether the values make sense together was decided before, in `cross-checks.ts`.
 */
import { createHash } from "node:crypto";
import { DEFAULTS } from "./defaults.ts";
import { layersFor, mergeLayers } from "./merge.ts";
import { policyOf } from "./resolve-policy.ts";
import type { DestinationFile, PolicyFile } from "./schema.ts";
import {
  type Acl,
  type BalanceOptions,
  CONFIG_FORMAT,
  type Config,
  type Destination,
  type DestinationTls,
  type FleetOptions,
  type Limits,
  type TelemetryConfig,
} from "./types.ts";
import { countOrOff, msOrOff, parseDuration, parseSize } from "./units.ts";

/** Name of the implicit last destination. */
const IMPLICIT_NAME = "default";

/** Hex digits of the hash that a version shows: enough to tell the policies of one system apart, short enough for a log line. */
const VERSION_LENGTH = 12;

/** The configuration that a file means. `{ version: 1 }` gives the built-in one. */
export function resolve(file: PolicyFile): Config {
  const listen = { ...DEFAULTS.listen, ...stated(file.listen) };
  const policy = {
    onProxyFailure: file.on_proxy_failure ?? DEFAULTS.onProxyFailure,
    listen: { host: listen.unsafe_bind, port: listen.port, transparentPort: listen.transparent_port },
    limits: limitsOf(file),
    acl: aclOf(file),
    fleet: fleetOf(file),
    destinations: [
      ...(file.destinations ?? []).map((_, i) => destinationOf(file, i)),
      implicitDestination(file),
    ],
    telemetry: telemetryOf(file),
  };
  return { format: CONFIG_FORMAT, version: versionOf(policy), ...policy };
}

/** Where calls of a destination go: what it states, else (with a local port) its one exact host. `null` keeps each call's target. */
export function upstreamOf(destination: DestinationFile): { host: string; port: number } | null {
  const { upstream, local_port, hosts, ports } = destination;
  if (upstream === undefined && local_port === undefined) return null;
  const host = upstream?.host ?? hosts.find((pattern) => !pattern.startsWith("*"))!;
  // 80 is what a plain call says when it says nothing; over TLS that means 443.
  const onlyPort = ports?.length === 1 && ports[0] !== 80 ? ports[0] : undefined;
  const port = upstream?.port ?? onlyPort ?? (originatesTls(destination) ? 443 : 80);
  return { host: host.toLowerCase(), port };
}

/** Whether plain calls leave over TLS: any key of `tls` but `intercept` means so, unless it says `originate: false`. */
export function originatesTls({ tls }: DestinationFile): boolean {
  return tls !== undefined && tls.originate !== false && Object.keys(tls).some((key) => key !== "intercept");
}

function limitsOf(file: PolicyFile): Limits {
  const limits = { ...DEFAULTS.limits, ...stated(file.limits) };
  return {
    headBytesMax: parseSize(limits.head_bytes)!,
    headerCountMax: limits.header_count,
    targetBytesMax: parseSize(limits.target_bytes)!,
    connectionsMax: limits.connections,
    tunnelsMax: limits.tunnels,
    headTimeoutMs: parseDuration(limits.head_timeout)!,
    keepAliveMs: parseDuration(limits.keep_alive)!,
    idleUpstreamMax: limits.idle_upstream,
    handshakeTimeoutMs: parseDuration(limits.handshake_timeout)!,
    streamsMax: limits.streams,
    tunnelIdleMs: msOrOff(limits.tunnel_idle),
    exchangeBufferBytes: parseSize(limits.exchange_buffer)!,
    totalBufferBytes: parseSize(limits.total_buffer)!,
  };
}

function aclOf(file: PolicyFile): Acl {
  const acl = { ...DEFAULTS.acl, ...stated(file.acl) };
  return {
    default: acl.default,
    mode: acl.mode,
    privateRanges: acl.private_ranges,
    allowAddresses: acl.allow_addresses,
    rules: acl.rules.map((rule) => ({
      name: rule.name,
      action: rule.action,
      hosts: (rule.hosts ?? []).map((host) => host.toLowerCase()),
      ports: rule.ports ?? [],
      methods: rule.methods ?? [],
      paths: rule.paths ?? [],
      identities: rule.identities ?? [],
    })),
  };
}

/** `null` when the file names neither a store nor a service: then there is nothing to share. */
function fleetOf(file: PolicyFile): FleetOptions | null {
  const fleet = { ...DEFAULTS.fleet, ...stated(file.fleet) };
  if (fleet.store === "" && fleet.rate_limit_service === "") return null;
  return {
    store: fleet.store,
    passwordEnv: fleet.password_env,
    prefix: fleet.prefix,
    timeoutMs: parseDuration(fleet.timeout)!,
    onFailure: fleet.on_failure,
    rateLimitService: fleet.rate_limit_service,
    rateLimitDomain: fleet.rate_limit_domain,
  };
}

function telemetryOf(file: PolicyFile): TelemetryConfig {
  const telemetry = { ...DEFAULTS.telemetry, ...stated(file.telemetry) };
  const isSampled = telemetry.access_log === "sampled";
  return {
    accessLog: telemetry.access_log,
    sampleRatio: isSampled ? (file.telemetry?.sample ?? DEFAULTS.sampledRatio) : 1,
    summary: telemetry.summary,
    flushCapMs: parseDuration(telemetry.flush_cap)!,
    destination: telemetry.destination,
  };
}

function destinationOf(file: PolicyFile, index: number): Destination {
  const destination = file.destinations![index]!;
  return {
    name: destination.name,
    hosts: destination.hosts.map((host) => host.toLowerCase()),
    protocol: destination.protocol ?? DEFAULTS.destination.protocol,
    ports: destination.ports ?? [],
    access: destination.access ?? DEFAULTS.destination.access,
    allowAddresses: destination.allow_addresses ?? [],
    localPort: destination.local_port ?? 0,
    upstream: upstreamOf(destination),
    endpoints: (destination.endpoints ?? []).map(({ host, port, priority, weight }) => ({
      host: host.toLowerCase(),
      port,
      priority: priority ?? 0,
      weight: weight ?? 1,
    })),
    balance: balanceOf(destination),
    tls: tlsOf(destination),
    httpVersion: destination.http_version ?? DEFAULTS.destination.http_version,
    policy: policyOf(mergeLayers(layersFor(file, index, null))),
    routes: (destination.routes ?? []).map(({ match }, route) => ({
      match: { path: match.path ?? "", methods: match.methods ?? [] },
      policy: policyOf(mergeLayers(layersFor(file, index, route))),
    })),
  };
}

function implicitDestination(file: PolicyFile): Destination {
  return {
    name: IMPLICIT_NAME,
    hosts: [],
    protocol: DEFAULTS.destination.protocol,
    ports: [],
    access: DEFAULTS.destination.access,
    allowAddresses: [],
    localPort: 0,
    upstream: null,
    endpoints: [],
    balance: balanceOf({}),
    tls: null,
    httpVersion: DEFAULTS.destination.http_version,
    policy: policyOf(mergeLayers(layersFor(file, null, null))),
    routes: [],
  };
}

function balanceOf({ balance: keys }: Pick<DestinationFile, "balance">): BalanceOptions {
  const balance = { ...DEFAULTS.balance, ...stated(keys) };
  return {
    algorithm: balance.algorithm,
    ejectAfter: countOrOff(balance.eject_after),
    ejectForMs: parseDuration(balance.eject_for)!,
    ejectPercentMax: balance.eject_percent,
  };
}

function tlsOf(destination: DestinationFile): DestinationTls | null {
  const { tls } = destination;
  if (tls === undefined) return null;
  return {
    originate: originatesTls(destination),
    intercept: tls.intercept ?? false,
    clientCert: tls.client_cert ?? "",
    clientKey: tls.client_key ?? "",
    ca: tls.ca ?? "",
    serverName: tls.server_name?.toLowerCase() ?? "",
    minVersion: tls.min_version ?? DEFAULTS.tls.min_version,
  };
}

/** Only the keys that have a value, so that an absent one cannot override a default. */
function stated<T extends object>(keys: T | undefined): { [K in keyof T]?: NonNullable<T[K]> } {
  const entries = Object.entries(keys ?? {}).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: NonNullable<T[K]> };
}

/** The hash of the policy alone: the same policy has the same version, however its file is written. */
function versionOf(policy: Omit<Config, "format" | "version">): string {
  return createHash("sha256").update(canonicalJson(policy)).digest("hex").slice(0, VERSION_LENGTH);
}

/** JSON with sorted keys and no white space. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) => {
    if (typeof inner !== "object" || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
