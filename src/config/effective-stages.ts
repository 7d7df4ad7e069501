/**
 * The stages that are off by default, as `outrider explain` and `outrider check` show them. As `effective.ts`, of which it is a part.
 */
import type { RoutePolicy } from "./types.ts";
import { formatDuration, formatInstant, formatSize, formatStatuses, GRPC_CONDITIONS } from "./units.ts";

/** A key in its dotted form and its value, in the notation of the file. */
export type Row = readonly [key: string, value: string | number | boolean];

/** `off` for 0. */
export function durationOrOff(ms: number): string {
  return ms === 0 ? "off" : formatDuration(ms);
}

/** `none` for an empty list. */
export function listText(entries: readonly string[]): string {
  return entries.length === 0 ? "none" : entries.join(", ");
}

/** Statuses, then gRPC statuses, as a list such as `retry.on` may write them. */
export function statusTexts(statuses: readonly number[], grpcStatuses: readonly number[]): string[] {
  const plain = statuses.length === 0 ? [] : [formatStatuses(statuses)];
  return [...plain, ...grpcStatuses.map((status) => GRPC_CONDITIONS[status - 1]!)];
}

/** `host`, or `host:port` when a port is stated; an IPv6 address in brackets (RFC 3986 §3.2.2). */
export function placeText(host: string, port: number): string {
  const name = host.includes(":") ? `[${host}]` : host;
  return port === 0 ? name : `${name}:${port}`;
}

const orOff = (value: number): string | number => (value === 0 ? "off" : value);
const sizeOrOff = (bytes: number): string => (bytes === 0 ? "off" : formatSize(bytes));

/** `hedge` and `circuit_breaker`. */
export function resilienceRows({ hedge, circuitBreaker: breaker }: RoutePolicy): Row[] {
  const rows: Row[] = [];
  if (hedge === null) rows.push(["hedge", "off"]);
  else {
    rows.push(
      ["hedge.delay", durationOrOff(hedge.delayMs)],
      ["hedge.percentile", orOff(hedge.percentile)],
      ["hedge.max_hedges", hedge.maxHedges],
      ["hedge.methods", listText(hedge.methods)],
      ["hedge.budget_ratio", hedge.budgetRatio],
    );
  }
  if (breaker === null) return [...rows, ["circuit_breaker", "off"]];
  return [
    ...rows,
    ["circuit_breaker.consecutive_failures", orOff(breaker.consecutiveFailures)],
    ["circuit_breaker.error_ratio", orOff(breaker.errorRatio)],
    ["circuit_breaker.slow_call", durationOrOff(breaker.slowCallMs)],
    ["circuit_breaker.slow_ratio", breaker.slowRatio],
    ["circuit_breaker.window", formatDuration(breaker.windowMs)],
    ["circuit_breaker.min_calls", breaker.minCalls],
    ["circuit_breaker.open_for", formatDuration(breaker.openForMs)],
    ["circuit_breaker.half_open_probes", breaker.halfOpenProbes],
    ["circuit_breaker.on", listText(statusTexts(breaker.statuses, breaker.grpcStatuses))],
    ["circuit_breaker.isolated", breaker.isolated],
    ["circuit_breaker.shared", breaker.shared],
  ];
}

/** `limits.adaptive_concurrency` and `limits.per_invocation`. */
export function selfMadeLimitRows({
  adaptiveConcurrency: adaptive,
  invocationBudget: budget,
}: RoutePolicy): Row[] {
  const rows: Row[] = [];
  if (adaptive === null) rows.push(["limits.adaptive_concurrency", "off"]);
  else {
    rows.push(
      ["limits.adaptive_concurrency.min", adaptive.min],
      ["limits.adaptive_concurrency.max", adaptive.max],
      ["limits.adaptive_concurrency.queue", adaptive.queueMax],
    );
  }
  if (budget === null) return [...rows, ["limits.per_invocation", "off"]];
  return [
    ...rows,
    ["limits.per_invocation.calls", orOff(budget.calls)],
    ["limits.per_invocation.bytes", sizeOrOff(budget.bytes)],
  ];
}

/** `fallback`, `stale_if_error`. */
export function replacementRows({ fallback, staleIfError: stale }: RoutePolicy): Row[] {
  const rows: Row[] = [];
  if (fallback === null) rows.push(["fallback", "off"]);
  else {
    rows.push(
      ["fallback.on", listText(statusTexts(fallback.statuses, []))],
      ["fallback.status", fallback.status],
      ["fallback.content_type", fallback.contentType],
      ["fallback.body", formatSize(Buffer.byteLength(fallback.body))],
    );
  }
  if (stale === null) return [...rows, ["stale_if_error", "off"]];
  return [
    ...rows,
    ["stale_if_error.max_age", formatDuration(stale.maxAgeMs)],
    ["stale_if_error.bytes", formatSize(stale.bytesMax)],
    ["stale_if_error.body_bytes", formatSize(stale.bodyBytesMax)],
  ];
}

/** `split`, `rewrite`. */
export function shapingRows({ split, rewrite }: RoutePolicy): Row[] {
  const targets = split.map(
    ({ host, port, weight, sticky }) => `${weight}% to ${placeText(host, port)} by ${sticky}`,
  );
  const rows: Row[] = [["split", listText(targets)]];
  if (rewrite === null) return [...rows, ["rewrite", "off"]];
  const flags = rewrite.flags.map(
    ({ header, values }) =>
      `${header} (${values.map(({ value, weight }) => `${value}: ${weight}`).join(", ")})`,
  );
  return [
    ...rows,
    ["rewrite.path_prefix", rewrite.pathPrefix || "none"],
    ["rewrite.path_replacement", rewrite.pathReplacement || "none"],
    ["rewrite.set_headers", listText(rewrite.setHeaders.map(({ name, value }) => `${name}: ${value}`))],
    ["rewrite.remove_headers", listText(rewrite.removeHeaders)],
    ["rewrite.flags", listText(flags)],
  ];
}

/** `mirror`, `fault`. */
export function experimentRows({ mirror, fault }: RoutePolicy): Row[] {
  const rows: Row[] = [];
  if (mirror === null) rows.push(["mirror", "off"]);
  else {
    rows.push(
      ["mirror.host", mirror.host],
      ["mirror.port", mirror.port === 0 ? "the call's own" : mirror.port],
      ["mirror.percent", mirror.percent],
      ["mirror.body_bytes", formatSize(mirror.bodyBytesMax)],
      ["mirror.concurrency", mirror.concurrencyMax],
      ["mirror.keep_credentials", mirror.keepCredentials],
    );
  }
  if (fault === null) return [...rows, ["fault", "off"]];
  return [
    ...rows,
    ["fault.percent", fault.percent],
    ["fault.delay", durationOrOff(fault.delayMs)],
    ["fault.abort", orOff(fault.abortStatus)],
    ["fault.reset", fault.reset],
    ["fault.tls_failure", fault.tlsFailure],
    ["fault.body_rate", sizeOrOff(fault.bodyBytesPerSecond)],
    ["fault.truncate_after", fault.truncateAfterBytes < 0 ? "off" : formatSize(fault.truncateAfterBytes)],
    ["fault.expires", formatInstant(fault.expiresWallMs)],
    ["fault.kill_switch", fault.killSwitchFile === "" ? "off" : `file:${fault.killSwitchFile}`],
  ];
}

/** What these stages do to calls, in clauses for `outrider check`. */
export function stageEffects(policy: RoutePolicy): string[] {
  const { hedge, circuitBreaker: breaker, adaptiveConcurrency: adaptive, invocationBudget: budget } = policy;
  const { fallback, staleIfError: stale, split, rewrite, mirror, fault } = policy;
  const clauses: string[] = [];
  if (hedge !== null) {
    const when = hedge.delayMs > 0 ? formatDuration(hedge.delayMs) : `the ${hedge.percentile}th percentile`;
    clauses.push(`a second try after ${when}`);
  }
  if (breaker !== null) clauses.push(breaker.isolated ? "isolated" : "circuit breaker");
  if (adaptive !== null) clauses.push(`${adaptive.min} to ${adaptive.max} at once, as the latency allows`);
  if (budget !== null) clauses.push(`at most ${budgetText(budget)} per invocation`);
  for (const { weight, host, port } of split) clauses.push(`${weight}% to ${placeText(host, port)}`);
  if (rewrite !== null) clauses.push("rewritten");
  if (mirror !== null) clauses.push(`${mirror.percent}% copied to ${placeText(mirror.host, mirror.port)}`);
  if (stale !== null) clauses.push(`the last good answer for up to ${formatDuration(stale.maxAgeMs)}`);
  if (fallback !== null) clauses.push(`${fallback.status} in place of a failure`);
  if (fault !== null) clauses.push(`faults in ${fault.percent}% until ${formatInstant(fault.expiresWallMs)}`);
  return clauses;
}

function budgetText({ calls, bytes }: NonNullable<RoutePolicy["invocationBudget"]>): string {
  const parts = [...(calls > 0 ? [`${calls} calls`] : []), ...(bytes > 0 ? [formatSize(bytes)] : [])];
  return parts.join(" and ");
}
