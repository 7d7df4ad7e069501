/**
 * What a destination cannot have because of what is spoken: with `protocol: tcp` nothing is read, over HTTP/1.1 there are no streams and
 * there is no gRPC. Pure; called by `destination-checks.ts`.
 */
import { errorAt, type Path, type Problem, warningAt } from "./problem.ts";
import type { DestinationFile, PolicyKeys } from "./schema.ts";
import { grpcStatusNamed } from "./units.ts";

/** Every finding about `protocol` and `http_version` of the destination at `path`. */
export function checkProtocol(destination: DestinationFile, path: Path): Problem[] {
  if (destination.protocol === "tcp") return checkTcp(destination, path);
  if (destination.http_version !== "http1") return [];
  const levels: [PolicyKeys, Path][] = [
    [destination, path],
    ...(destination.routes ?? []).map((route, i): [PolicyKeys, Path] => [route, [...path, "routes", i]]),
  ];
  return levels.flatMap(([keys, at]) => checkConditions(keys, at));
}

/** Keys that need a request, a response or a head to act on, and why a byte stream has none. */
const READS_HTTP: readonly (readonly [key: string, why: string])[] = [
  ["http_version", "no HTTP is spoken"],
  ["routes", "there is no path and no method to match"],
  ["deadline_headers", "there are no headers"],
  ["propagate", "there are no headers to write a trace into"],
  ["per_try_timeout", "there is no response head to wait for; connect_timeout and timeout bound connecting"],
  ["idle_timeout", "limits.tunnel_idle bounds the silence of connections"],
  ["tls.intercept", "what comes to local_port is not TLS of the application's own"],
  ["deadline_header", "there are no headers"],
  ["hedge", "there is no response head to be slow"],
  ["fallback", "there is no response to take the place of"],
  ["stale_if_error", "there is no response to keep"],
  ["split", "connections go where local_port leads"],
  ["rewrite", "there are no headers and no path"],
  ["mirror", "there is no request to copy"],
  ["limits.key_header", "there are no headers"],
  ["limits.adaptive_concurrency", "there is no response head whose latency could be measured"],
  ["retry.methods", "there is no method"],
  ["retry.idempotency_headers", "there are no headers"],
  ["retry.replay_buffer", "nothing that was sent is sent again"],
];

function checkTcp(destination: DestinationFile, path: Path): Problem[] {
  const problems: Problem[] = [];
  if (destination.local_port === undefined) {
    const message = "tcp needs local_port, the port on this machine that the application connects to";
    problems.push(errorAt([...path, "protocol"], message));
  }
  const { upstream, ports = [] } = destination;
  if (upstream?.port === undefined && ports.length !== 1) {
    const message =
      "tcp needs to know the port to connect to; state upstream: { host: …, port: … }, or one port in ports";
    problems.push(errorAt([...path, "protocol"], message));
  }
  for (const [key, why] of READS_HTTP) {
    const steps = key.split(".");
    if (!isStated(destination, steps)) continue;
    problems.push(
      errorAt([...path, ...steps], `has no effect with protocol: tcp, because ${why}; delete it`),
    );
  }
  const unmet = destination.retry?.on?.filter((condition) => condition !== "connect_failure") ?? [];
  if (unmet.length > 0) {
    const message = `with protocol: tcp only connect_failure can be met, not ${unmet.join(", ")}; write on: [connect_failure]`;
    problems.push(errorAt([...path, "retry", "on"], message));
  }
  return problems;
}

/** Whether the file says something under `key` that asks for an effect: `false` and `off` ask for none. */
function isStated(value: unknown, key: readonly string[]): boolean {
  const [first, ...rest] = key;
  if (first === undefined) return value !== undefined && value !== false && value !== "off";
  return (
    typeof value === "object" &&
    value !== null &&
    Object.hasOwn(value, first) &&
    isStated((value as Record<string, unknown>)[first], rest)
  );
}

function checkConditions({ retry }: PolicyKeys, path: Path): Problem[] {
  const unmet =
    retry?.on?.filter((entry) => entry === "refused_stream" || grpcStatusNamed(entry) !== null) ?? [];
  if (unmet.length === 0) return [];
  const message = `${unmet.join(", ")} cannot be met over http_version: http1, which has no streams and carries no gRPC; leave http_version out, or take them out of the list`;
  return [warningAt([...path, "retry", "on"], message)];
}
