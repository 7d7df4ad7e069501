/**
 * What an extension may ask of the Telemetry API.
 *
 * Owns the form of a subscription and its bounds. Pure. Sources: "Lambda Telemetry API reference" of the AWS Lambda Developer
 * Guide; the runtime interface emulator, internal/lambda-managed-instances/aws-lambda-rie/internal/telemetry/schema/.
 */

/** What can be subscribed to. */
export type TelemetryCategory = "platform" | "function" | "extension";

/** A subscription that was accepted. */
export interface Subscription {
  readonly schemaVersion: string;
  readonly categories: ReadonlySet<TelemetryCategory>;
  readonly maxItems: number;
  readonly maxBytes: number;
  readonly timeoutMs: number;
  readonly destination: Destination;
}

/** Where batches go; the host is always the sandbox itself. */
export type Destination =
  | { readonly protocol: "HTTP"; readonly port: number; readonly path: string; readonly host: string }
  | { readonly protocol: "TCP"; readonly port: number };

const SCHEMA_VERSIONS = ["2022-07-01", "2022-12-13", "2025-01-29"] as const;
const CATEGORIES: readonly TelemetryCategory[] = ["platform", "function", "extension"];

/** Lowest, highest and default value of each buffering field. */
const BUFFERING = {
  maxItems: { min: 1_000, max: 10_000, default: 10_000 },
  maxBytes: { min: 262_144, max: 1_048_576, default: 262_144 },
  timeoutMs: { min: 25, max: 30_000, default: 1_000 },
} as const;

/** The one host that a destination may name. */
const SANDBOX_HOST = "sandbox.localdomain";
/** The port of the Runtime API, which the service reserves. */
const RESERVED_PORT = 9001;

/** The subscription in `body`, or what is wrong with it. */
export function parseSubscription(body: string): Subscription | string {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch (error) {
    return `failed to parse JSON: ${(error as Error).message}`;
  }
  if (!isRecord(value)) return "the body must be a JSON object";
  const { schemaVersion = "2022-07-01", types, buffering = {}, destination } = value;
  if (!SCHEMA_VERSIONS.includes(schemaVersion as (typeof SCHEMA_VERSIONS)[number]))
    return `schemaVersion must be one of ${SCHEMA_VERSIONS.join(", ")}`;
  if (!Array.isArray(types) || types.length === 0 || !types.every((type) => CATEGORIES.includes(type)))
    return `types must be a non-empty list of ${CATEGORIES.join(", ")}`;
  const buffer = parseBuffering(buffering);
  if (typeof buffer === "string") return buffer;
  const target = parseDestination(destination);
  if (typeof target === "string") return target;
  return {
    schemaVersion: schemaVersion as string,
    categories: new Set(types as TelemetryCategory[]),
    ...buffer,
    destination: target,
  };
}

function parseBuffering(
  buffering: unknown,
): Pick<Subscription, "maxItems" | "maxBytes" | "timeoutMs"> | string {
  if (!isRecord(buffering)) return "buffering must be an object";
  const resolved = { maxItems: 0, maxBytes: 0, timeoutMs: 0 };
  for (const [name, bounds] of Object.entries(BUFFERING)) {
    const value = buffering[name] ?? bounds.default;
    if (!Number.isInteger(value) || (value as number) < bounds.min || (value as number) > bounds.max)
      return `buffering.${name} must be an integer from ${bounds.min} to ${bounds.max}`;
    resolved[name as keyof typeof BUFFERING] = value as number;
  }
  return resolved;
}

function parseDestination(destination: unknown): Destination | string {
  if (!isRecord(destination)) return "destination is required";
  if (destination.protocol === "TCP") {
    const { port } = destination;
    if (!Number.isInteger(port) || (port as number) < 1 || (port as number) > 65_535)
      return "destination.port must be an integer from 1 to 65535";
    return port === RESERVED_PORT ? reserved() : { protocol: "TCP", port: port as number };
  }
  if (destination.protocol !== "HTTP") return "destination.protocol must be HTTP or TCP";
  const uri = destination.URI ?? destination.uri;
  if (typeof uri !== "string" || !URL.canParse(uri)) return "destination.URI must be a URI";
  const url = new URL(uri);
  if (url.protocol !== "http:") return "destination.URI must use http";
  if (url.hostname !== SANDBOX_HOST) return `destination.URI host must be ${SANDBOX_HOST}`;
  const port = url.port === "" ? 80 : Number(url.port);
  if (port === RESERVED_PORT) return reserved();
  return { protocol: "HTTP", port, path: `${url.pathname}${url.search}`, host: url.host };
}

function reserved(): string {
  return `port ${RESERVED_PORT} is reserved`;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
