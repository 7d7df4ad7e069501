/**
 * The values that hold for a call, as `outrider explain` and `outrider check` show them: keys and notation of the policy file, read
 * from the resolved configuration, so that what is shown is what is obeyed.
 */

import {
  durationOrOff,
  experimentRows,
  listText,
  type Row,
  replacementRows,
  resilienceRows,
  selfMadeLimitRows,
  shapingRows,
  stageEffects,
  statusTexts,
} from "./effective-stages.ts";
import type { Destination, RoutePolicy } from "./types.ts";
import { formatDuration, formatRate, formatSize } from "./units.ts";

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
  const rows: Row[] = [
    ...timeRows(policy),
    ...retryRows(policy),
    ...resilienceRows(policy),
    ...limitRows(policy),
    ...selfMadeLimitRows(policy),
    ...replacementRows(policy),
    ...shapingRows(policy),
    ...experimentRows(policy),
    ["propagate", listText(policy.propagate)],
  ];
  return rows.map(([key, value]) => ({ key: key.split("."), value: String(value) }));
}

function timeRows(policy: RoutePolicy): Row[] {
  return [
    ["timeout", durationOrOff(policy.timeoutMs)],
    ["per_try_timeout", durationOrOff(policy.perTryTimeoutMs)],
    ["dns_timeout", formatDuration(policy.dnsTimeoutMs)],
    ["connect_timeout", formatDuration(policy.connectTimeoutMs)],
    ["tls_timeout", formatDuration(policy.tlsTimeoutMs)],
    ["idle_timeout", durationOrOff(policy.idleTimeoutMs)],
    ["deadline_reserve", formatDuration(policy.deadlineReserveMs)],
    ["deadline_headers", listText(policy.deadlineHeaders.map(({ name, format }) => `${name} (${format})`))],
    ["deadline_header", policy.deadlinePropagateHeader || "off"],
  ];
}

function retryRows(policy: RoutePolicy): Row[] {
  const { retry } = policy;
  return [
    ["retry.max_retries", retry.maxRetries],
    ["retry.on", conditions(policy)],
    ["retry.methods", listText(retry.methods)],
    ["retry.idempotency_headers", listText(retry.idempotencyHeaders)],
    ["retry.backoff.base", formatDuration(retry.backoffBaseMs)],
    ["retry.backoff.max", formatDuration(retry.backoffMaxMs)],
    ["retry.budget.ratio", retry.budgetRatio],
    ["retry.budget.floor", retry.budgetFloor],
    ["retry.replay_buffer", formatSize(retry.replayBufferBytes)],
  ];
}

function limitRows({ rateLimit, concurrency }: RoutePolicy): Row[] {
  const rows: Row[] = [["limits.rate", rateLimit === null ? "off" : formatRate(rateLimit.perSecond)]];
  if (rateLimit !== null) {
    rows.push(
      ["limits.burst", rateLimit.burst],
      ["limits.overflow", rateLimit.overflow],
      ["limits.key_header", rateLimit.keyHeader || "off"],
      ["limits.keys", rateLimit.keysMax],
      ["limits.fleet", rateLimit.fleet],
      ["limits.descriptors", listText(rateLimit.descriptors)],
    );
  }
  rows.push(["limits.max_concurrency", concurrency === null ? "off" : concurrency.max]);
  if (concurrency !== null) rows.push(["limits.queue", concurrency.queueMax]);
  return rows;
}

/** What is spoken to an upstream, for people. */
export const HTTP_VERSION_TEXT: Readonly<Record<Destination["httpVersion"], string>> = {
  auto: "HTTP/1.1 or HTTP/2, as the application does and the upstream can",
  http1: "HTTP/1.1, whatever the application speaks",
  http2: "HTTP/2, whatever the application speaks",
};

/** What a destination does to its calls, in clauses; empty when all it has are timeouts that are there by default. */
export function effects(destination: Destination): string[] {
  const { access, protocol, upstream, tls, localPort, httpVersion, policy, routes, endpoints, balance } =
    destination;
  const { retry, rateLimit, concurrency } = policy;
  const clauses: string[] = [];
  if (access === "deny") clauses.push("denied");
  if (localPort !== 0) clauses.push(`${protocol === "tcp" ? "TCP on " : ""}local port ${localPort}`);
  if (upstream !== null) clauses.push(`to ${formatAuthority(upstream)}`);
  if (endpoints.length > 0) {
    clauses.push(`to one of ${counted(endpoints.length, "endpoint", "endpoints")} (${balance.algorithm})`);
  }
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
  if (rateLimit !== null) clauses.push(...rateEffects(rateLimit));
  if (concurrency !== null) clauses.push(`at most ${concurrency.max} at once`);
  clauses.push(...stageEffects(policy));
  if (routes.length > 0) clauses.push(counted(routes.length, "route", "routes"));
  return clauses;
}

function conditions({ retry }: RoutePolicy): string {
  const headers = retry.responseHeaders.map((name) => `header:${name}`);
  return listText([...retry.on, ...statusTexts(retry.statuses, retry.grpcStatuses), ...headers]);
}

/** `at most 5/s of all sandboxes for each x-tenant`, or who is asked. */
function rateEffects(rateLimit: NonNullable<RoutePolicy["rateLimit"]>): string[] {
  const { perSecond, fleet, keyHeader, descriptors } = rateLimit;
  const of = `${fleet ? " of all sandboxes" : ""}${keyHeader === "" ? "" : ` for each ${keyHeader}`}`;
  return [
    `at most ${formatRate(perSecond)}${of}`,
    ...(descriptors.length === 0 ? [] : ["a rate limit service is asked"]),
  ];
}

function counted(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}
