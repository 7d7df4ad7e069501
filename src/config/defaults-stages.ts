/**
 * What holds inside a mapping that is off until some level states it: a mapping over `off` begins with these values. As
 * `defaults.ts`, of which it is a part.
 *
 * "" stands for a value that has to be stated (`check` says so) or for none.
 */

const STATUSES_OF_A_SICK_UPSTREAM = [500, 502, 503, 504];

/** By key of `defaults`. */
export const STAGE_DEFAULTS = {
  hedge: {
    delay: "off",
    percentile: 95,
    max_hedges: 1,
    methods: ["GET", "HEAD", "OPTIONS"],
    budget_ratio: 0.1,
  },
  circuit_breaker: {
    consecutive_failures: 5,
    error_ratio: 0.5,
    slow_call: "off",
    slow_ratio: 0.5,
    window: "30s",
    min_calls: 20,
    open_for: "10s",
    half_open_probes: 1,
    on: [...STATUSES_OF_A_SICK_UPSTREAM, "grpc_unavailable"],
    isolated: false,
    shared: false,
  },
  fallback: { on: [502, 503, 504], status: 0, content_type: "application/json", body: "" },
  stale_if_error: { max_age: "5m", bytes: "1MiB", body_bytes: "64KiB" },
  rewrite: { path_prefix: "", path_replacement: "", set_headers: [], remove_headers: [], flags: [] },
  mirror: { host: "", port: 0, percent: 0, body_bytes: "64KiB", concurrency: 4, keep_credentials: false },
  fault: {
    percent: 0,
    delay: "off",
    abort: "off",
    reset: false,
    tls_failure: false,
    body_rate: "off",
    truncate_after: "off",
    expires: "",
    kill_switch: "off",
  },
  limits: {
    adaptive_concurrency: { min: 1, max: 200, queue: 0 },
    per_invocation: { calls: "off", bytes: "off" },
  },
} as const;
