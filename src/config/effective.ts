/**
 * The values that hold for a call, as `outrider explain` and `outrider check` show them: keys and notation of the policy file, read
 * from the resolved configuration, so that what is shown is what is obeyed.
 */
import type { Destination, RoutePolicy } from "./types.ts";
import { formatDuration, formatRate, formatSize, formatStatuses, GRPC_CONDITIONS } from "./units.ts";

/** One key of a policy and its value in the notation of the file. */
export interface EffectiveValue {
  /** Steps of the key, for instance `["retry", "backoff", "max"]`. */
  readonly key: readonly string[];
  readonly value: string;
}

/** `host:port`, an IPv6 address in brackets (RFC 3986 §3.2.2). */
export function formatAuthority({ host, port }: { readonly host: string; readonly port: number }): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** Every value of a policy, in the order of the reference page. */
export function effectiveValues(policy: RoutePolicy): EffectiveValue[] {
  const { retry, rateLimit, concurrency } = policy;
  const row = (key: string, value: string | number): EffectiveValue => ({
    key: key.split("."),
    value: String(value),
  });
  return [
    row("timeout", durationOrOff(policy.timeoutMs)),
    row("per_try_timeout", durationOrOff(policy.perTryTimeoutMs)),
    row("dns_timeout", formatDuration(policy.dnsTimeoutMs)),
    row("connect_timeout", formatDuration(policy.connectTimeoutMs)),
    row("tls_timeout", formatDuration(policy.tlsTimeoutMs)),
    row("idle_timeout", durationOrOff(policy.idleTimeoutMs)),
    row("deadline_reserve", formatDuration(policy.deadlineReserveMs)),
    row("deadline_headers", list(policy.deadlineHeaders.map(({ name, format }) => `${name} (${format})`))),
    row("retry.max_retries", retry.maxRetries),
    row("retry.on", conditions(policy)),
    row("retry.methods", list(retry.methods)),
    row("retry.idempotency_headers", list(retry.idempotencyHeaders)),
    row("retry.backoff.base", formatDuration(retry.backoffBaseMs)),
    row("retry.backoff.max", formatDuration(retry.backoffMaxMs)),
    row("retry.budget.ratio", retry.budgetRatio),
    row("retry.budget.floor", retry.budgetFloor),
    row("retry.replay_buffer", formatSize(retry.replayBufferBytes)),
    row("limits.rate", rateLimit === null ? "off" : formatRate(rateLimit.perSecond)),
    ...(rateLimit === null
      ? []
      : [row("limits.burst", rateLimit.burst), row("limits.overflow", rateLimit.overflow)]),
    row("limits.max_concurrency", concurrency === null ? "off" : concurrency.max),
    ...(concurrency === null ? [] : [row("limits.queue", concurrency.queueMax)]),
    row("propagate", list(policy.propagate)),
  ];
}

/** What is spoken to an upstream, for people. */
export const HTTP_VERSION_TEXT: Readonly<Record<Destination["httpVersion"], string>> = {
  auto: "HTTP/1.1 or HTTP/2, as the application does and the upstream can",
  http1: "HTTP/1.1, whatever the application speaks",
  http2: "HTTP/2, whatever the application speaks",
};

/** What a destination does to its calls, in clauses; empty when all it has are timeouts that are there by default. */
export function effects(destination: Destination): string[] {
  const { access, protocol, upstream, tls, localPort, httpVersion, policy, routes } = destination;
  const { retry, rateLimit, concurrency } = policy;
  const clauses: string[] = [];
  if (access === "deny") clauses.push("denied");
  if (localPort !== 0) clauses.push(`${protocol === "tcp" ? "TCP on " : ""}local port ${localPort}`);
  if (upstream !== null) clauses.push(`to ${formatAuthority(upstream)}`);
  if (tls?.originate) clauses.push(tls.clientCert === "" ? "TLS" : "mTLS");
  if (tls?.intercept) {
    clauses.push(`opens TLS${tls.clientCert === "" || tls.originate ? "" : ", shows a client certificate"}`);
  }
  if (httpVersion !== "auto") clauses.push(httpVersion === "http1" ? "HTTP/1.1" : "HTTP/2");
  if (policy.timeoutMs > 0) clauses.push(`timeout ${formatDuration(policy.timeoutMs)}`);
  if (policy.perTryTimeoutMs > 0) clauses.push(`${formatDuration(policy.perTryTimeoutMs)} per try`);
  if (retry.maxRetries > 0) {
    clauses.push(`${counted(retry.maxRetries, "retry", "retries")} on ${conditions(policy)}`);
  }
  if (rateLimit !== null) clauses.push(`at most ${formatRate(rateLimit.perSecond)}`);
  if (concurrency !== null) clauses.push(`at most ${concurrency.max} at once`);
  if (routes.length > 0) clauses.push(counted(routes.length, "route", "routes"));
  return clauses;
}

function conditions({ retry }: RoutePolicy): string {
  const statuses = retry.statuses.length === 0 ? [] : [formatStatuses(retry.statuses)];
  const grpcStatuses = retry.grpcStatuses.map((status) => GRPC_CONDITIONS[status - 1]!);
  return list([...retry.on, ...statuses, ...grpcStatuses]);
}

function durationOrOff(ms: number): string {
  return ms === 0 ? "off" : formatDuration(ms);
}

function list(entries: readonly string[]): string {
  return entries.length === 0 ? "none" : entries.join(", ");
}

function counted(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}
