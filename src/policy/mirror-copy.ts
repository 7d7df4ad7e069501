/**
 * The copy of a call that goes to a mirror: which calls have one, which are drawn, and what of a call goes along. Pure.
 *
 * Whoever runs the mirror must not be able to act for the application, so everything that looks like a credential is left out, rather
 * too much than too little. Bodies go as they are: a mirror has to be trusted with what they hold.
 */
import { Body } from "../body.ts";
import type { MirrorOptions } from "../config/types.ts";
import { EgressRequest, type FieldLines } from "../exchange.ts";
import { fieldValue, withField, withoutFields } from "../http1/fields.ts";
import { traceKey } from "./split-choice.ts";
import { stickyPoint } from "./sticky-hash.ts";

/** Marks a copy, so that neither the mirror nor a proxy before it takes it for a call of its own; it is not mirrored again. */
const MARK = "Outrider-Mirror";

/**
 * Names of header fields that carry credentials or prove who calls: Authorization and what proxies and platforms call theirs, cookies,
 * tokens (X-Amz-Security-Token), keys (X-Api-Key, x-functions-key), signatures (RFC 9421), DPoP (RFC 9449), client certificates.
 */
const CREDENTIAL_FIELD =
  /auth(?!or(?!i))|cookie|token|secret|signature|credential|passw|session|jwt|assertion|dpop|client-cert|(?<!idempotency-)key$/;

/**
 * Names of query parameters that do: presigned requests (AWS SigV4 query authentication, Google Cloud Storage signed URLs, Azure SAS),
 * OAuth 2.0 (RFC 6749 §4, RFC 6750 §2.3), API keys.
 */
const CREDENTIAL_PARAMETER =
  /^x-(?:amz|goog)-|token|signature|secret|credential|passw|auth(?!or(?!i))|session|assertion|jwt|key(?:id)?$|^(?:sig|code|pwd|pass|sid)$/;

/**
 * Whether a call can be mirrored: its first attempt, with a body that is not known to be too long, and no tunnel or other protocol. A
 * body that is still coming has to prove short enough: the copy is sent when all of it is here.
 */
export function isMirrorable(request: EgressRequest, { bodyBytesMax }: MirrorOptions): boolean {
  const { attempt, method, upgrade, body, fields, cancelled } = request;
  if (attempt !== 1 || method === "CONNECT" || upgrade !== "" || cancelled.value !== undefined) return false;
  if ((body.whole?.length ?? body.length ?? 0) > bodyBytesMax) return false;
  return fieldValue(fields, MARK.toLowerCase()) === undefined;
}

/**
 * Whether a call is among the `percent`: all calls of a trace or none, by a hash of its trace id, so that what the mirror sees hangs
 * together; a call without a trace by chance.
 *
 * @param workTraceId of the running invocation's trace, "" for none
 * @param random uniform in [0, 1)
 */
export function isDrawn(
  { fields }: Pick<EgressRequest, "fields">,
  workTraceId: string,
  percent: number,
  random: () => number,
): boolean {
  const traceId = traceKey(fields, workTraceId);
  // A place of its own, or the mirror would see the calls of one side of a split only.
  return (traceId === "" ? random() : stickyPoint(`mirror ${traceId}`)) * 100 < percent;
}

/**
 * The copy: a call of its own that shares nothing with the first but its deadline. It is dialled at the mirror whatever the
 * destination says about addresses.
 *
 * @param body all of the call's, one latin1 character per byte; its trailers are left out
 */
export function mirrorCopy(request: EgressRequest, options: MirrorOptions, body: string): EgressRequest {
  const { host, port, keepCredentials } = options;
  const fields = keepCredentials ? request.fields : withoutCredentials(request.fields);
  const copy = new EgressRequest({
    method: request.method,
    scheme: request.scheme,
    host,
    port: port === 0 ? request.port : port,
    path: keepCredentials ? request.path : withoutSecretParameters(request.path),
    fields: withField(fields, MARK, "1"),
    body: Body.of(body),
    teTrailers: request.teTrailers,
    hasLength: request.hasLength,
    httpVersion: request.httpVersion,
    startedMs: request.startedMs,
  });
  return copy.with({ deadlineMs: request.deadlineMs, address: { host, port } });
}

/** The fields without those that carry credentials. */
export function withoutCredentials(fields: FieldLines): FieldLines {
  const names = new Set<string>();
  for (const line of fields.split("\r\n")) {
    const name = line.slice(0, Math.max(0, line.indexOf(":"))).toLowerCase();
    if (CREDENTIAL_FIELD.test(name)) names.add(name);
  }
  return names.size === 0 ? fields : withoutFields(fields, names);
}

/** The target without the query parameters that carry credentials; all else stays to the byte. */
export function withoutSecretParameters(path: string): string {
  const query = path.indexOf("?");
  if (query < 0) return path;
  const pieces = path.slice(query + 1).split(/(?=[&;])/);
  const kept = pieces.filter((piece) => !CREDENTIAL_PARAMETER.test(parameterName(piece)));
  if (kept.length === pieces.length) return path;
  const rest = kept.join("").replace(/^[&;]/, "");
  return rest === "" ? path.slice(0, query) : `${path.slice(0, query)}?${rest}`;
}

/** Lower case and percent-decoded: a name is a name however it is written. */
function parameterName(piece: string): string {
  const name = piece.replace(/^[&;]/, "").split("=", 1)[0]!;
  return name
    .replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    .toLowerCase();
}
