/**
 * The two messages of Envoy's rate limit service: envoy/service/ratelimit/v3/rls.proto and
 * envoy/extensions/common/ratelimit/v3/ratelimit.proto in envoyproxy/envoy (api/), whose field numbers these are. Pure.
 */
import type { FieldLines } from "../exchange.ts";
import type { DescriptorEntry, RateVerdict } from "../policy/rate-source.ts";
import { delimited, fieldsIn, ProtobufError } from "./rls-protobuf.ts";

/** The method's path. */
export const SHOULD_RATE_LIMIT = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/** RateLimitResponse.Code. */
const OK = 1;
const OVER_LIMIT = 2;

/** Fields of the service's that are taken over, of each kind. Overflow: the rest is dropped. */
const FIELDS_MAX = 32;

/** RateLimitRequest { domain = 1; descriptors = 2 { entries = 1 { key = 1; value = 2 } } }; one hit, which is the default. */
export function requestMessage(domain: string, entries: readonly DescriptorEntry[]): Uint8Array {
  const descriptor = entries.map(({ key, value }) =>
    delimited(1, Buffer.concat([delimited(1, key), delimited(2, value)])),
  );
  return Buffer.concat([delimited(1, domain), delimited(2, Buffer.concat(descriptor))]);
}

/**
 * RateLimitResponse { overall_code = 1; statuses = 2; response_headers_to_add = 3; request_headers_to_add = 4 }.
 * @throws ProtobufError when it is none, or its code is neither OK nor OVER_LIMIT
 */
export function verdictIn(message: Uint8Array): RateVerdict {
  let code = 0;
  let resetMs = 0;
  const response: FieldLines[] = [];
  const request: FieldLines[] = [];
  for (const { number, value } of fieldsIn(message)) {
    if (number === 1 && typeof value === "number") code = value;
    if (typeof value === "number") continue;
    if (number === 2) resetMs = Math.max(resetMs, resetIn(value));
    if (number === 3) response.push(lineIn(value));
    if (number === 4) request.push(lineIn(value));
  }
  if (code !== OK && code !== OVER_LIMIT) throw new ProtobufError(`its overall_code is ${code}`);
  return {
    over: code === OVER_LIMIT,
    resetMs,
    requestFields: request.slice(0, FIELDS_MAX).join(""),
    responseFields: response.slice(0, FIELDS_MAX).join(""),
  };
}

/** DescriptorStatus { code = 1; duration_until_reset = 4 } of a limit that is used up, milliseconds; 0 for any other. */
function resetIn(status: Uint8Array): number {
  let code = 0;
  let ms = 0;
  for (const { number, value } of fieldsIn(status)) {
    if (number === 1 && typeof value === "number") code = value;
    if (number === 4 && typeof value !== "number") ms = durationMsIn(value);
  }
  return code === OVER_LIMIT ? ms : 0;
}

/** google.protobuf.Duration { seconds = 1; nanos = 2 }; a negative one, whose varints are huge, is none. */
function durationMsIn(duration: Uint8Array): number {
  let ms = 0;
  for (const { number, value } of fieldsIn(duration)) {
    if (typeof value !== "number") continue;
    if (number === 1) ms += value * 1000;
    if (number === 2) ms += value / 1e6;
  }
  return ms < 2 ** 53 ? ms : 0;
}

/** RFC 9110 §5.1 and §5.5. */
const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Fields that frame a message, belong to one hop or say where it goes: no service sets those. */
const NOT_TO_BE_SET =
  /^(?:connection|content-length|host|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade)$/i;

/** envoy.config.core.v3.HeaderValue { key = 1; value = 2; raw_value = 3 } as a field line; "" when it may not be one. */
function lineIn(header: Uint8Array): FieldLines {
  let name = "";
  let text = "";
  for (const { number, value } of fieldsIn(header)) {
    if (typeof value === "number") continue;
    if (number === 1) name = Buffer.from(value).toString("latin1");
    if (number === 2 || (number === 3 && value.length > 0)) text = Buffer.from(value).toString("latin1");
  }
  return NAME.test(name) && VALUE.test(text) && !NOT_TO_BE_SET.test(name) ? `${name}: ${text}\r\n` : "";
}
