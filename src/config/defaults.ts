/**
 * The one table of defaults, in the notation of the policy file: what holds where the file says nothing.
 *
 * The reference page and the JSON Schema show these values, `resolve.ts` merges them. Three defaults depend on other keys and are
 * made there: `upstream`, `limits.burst` and `telemetry.sample`.
 */
import type { MergedPolicy } from "./merge.ts";
import type { DestinationFile, PolicyFile } from "./schema.ts";

/** A mapping of which every key has a value. */
type Complete<T> = { readonly [K in keyof T]-?: NonNullable<T[K]> };

/** Keys of the file outside the policies of calls. */
interface Defaults {
  readonly onProxyFailure: NonNullable<PolicyFile["on_proxy_failure"]>;
  readonly listen: Complete<NonNullable<PolicyFile["listen"]>>;
  readonly limits: Complete<NonNullable<PolicyFile["limits"]>>;
  readonly acl: Complete<NonNullable<PolicyFile["acl"]>>;
  readonly fleet: Complete<NonNullable<PolicyFile["fleet"]>>;
  readonly balance: Complete<NonNullable<DestinationFile["balance"]>>;
  readonly destination: Complete<Pick<DestinationFile, "access" | "protocol" | "http_version">>;
  readonly tls: Complete<Pick<NonNullable<DestinationFile["tls"]>, "min_version">>;
  readonly telemetry: Complete<Omit<NonNullable<PolicyFile["telemetry"]>, "sample" | "propagate">>;
  /** `telemetry.sample` under `access_log: sampled`; every call is written under `all`. */
  readonly sampledRatio: number;
  /** What `defaults`, destinations and routes override; `propagate` is `telemetry.propagate`. */
  readonly policy: MergedPolicy;
}

/** See the file's header. */
export const DEFAULTS: Defaults = {
  onProxyFailure: "open",
  listen: { port: 4140, transparent_port: 0, unsafe_bind: "127.0.0.1" },
  limits: {
    head_bytes: "16KiB",
    header_count: 128,
    target_bytes: "8KiB",
    connections: 10_000,
    tunnels: 1000,
    head_timeout: "10s",
    keep_alive: "65s",
    idle_upstream: 256,
    handshake_timeout: "5s",
    streams: 100,
    tunnel_idle: "1h",
    exchange_buffer: "64KiB",
    total_buffer: "64MiB",
  },
  acl: { default: "allow", mode: "enforce", private_ranges: "allow", allow_addresses: [], rules: [] },
  fleet: {
    store: "",
    password_env: "",
    prefix: "outrider:",
    timeout: "100ms",
    on_failure: "open",
    rate_limit_service: "",
    rate_limit_domain: "outrider",
  },
  balance: { algorithm: "least_request", eject_after: 5, eject_for: "10s", eject_percent: 100 },
  destination: { access: "allow", protocol: "http", http_version: "auto" },
  tls: { min_version: "TLSv1.2" },
  telemetry: { access_log: "all", summary: true, flush_cap: "20ms", destination: "stdout" },
  sampledRatio: 0.1,
  policy: {
    timeout: "off",
    per_try_timeout: "off",
    dns_timeout: "2s",
    connect_timeout: "2s",
    tls_timeout: "5s",
    idle_timeout: "60s",
    deadline_reserve: "100ms",
    deadline_headers: [
      { name: "grpc-timeout", format: "grpc" },
      { name: "x-envoy-expected-rq-timeout-ms", format: "milliseconds" },
    ],
    retry: {
      max_retries: 0,
      on: ["connect_failure", "reset_before_response", "refused_stream", 502, 503, 504, "grpc_unavailable"],
      // Idempotent by RFC 9110 §9.2.2, less TRACE, which carries no body to repeat and which no application retries.
      methods: ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"],
      idempotency_headers: ["idempotency-key", "x-idempotency-key"],
      backoff: { base: "50ms", max: "1s" },
      budget: { ratio: 0.2, floor: 1 },
      replay_buffer: "64KiB",
    },
    deadline_header: "off",
    hedge: "off",
    circuit_breaker: "off",
    limits: {
      rate: "off",
      overflow: "reject",
      max_concurrency: "off",
      queue: 0,
      adaptive_concurrency: "off",
      per_invocation: "off",
      key_header: "off",
      keys: 1000,
      fleet: false,
      descriptors: [],
    },
    fallback: "off",
    stale_if_error: "off",
    split: [],
    rewrite: "off",
    mirror: "off",
    fault: "off",
    propagate: ["tracecontext", "xray"],
  },
};
