/**
 * The Telemetry API, version 2022-07-01.
 *
 * Owns the answers to a subscription. The older Logs API only says that it is not supported. Sources: "Lambda Telemetry API
 * reference" of the AWS Lambda Developer Guide; the runtime interface emulator, internal/lambda/rapi/handler/runtimelogs*.go.
 */
import { type Answer, errorAnswer, forbidden, jsonAnswer, TOO_LARGE, TRUNCATED } from "./answers.ts";
import type { ApiRequest, Route } from "./api-server.ts";
import { identify, whenEnabled } from "./extensions-api.ts";
import { readBody } from "./request-body.ts";
import type { Sandbox } from "./sandbox.ts";
import { parseSubscription } from "./telemetry-subscription.ts";

/** A subscription is small; this bounds what a client can make the emulator hold. */
const BODY_BYTES_MAX = 64 * 1024;

/** The body is a JSON string, without a line feed. */
const SUBSCRIBED: Answer = { status: 200, body: '"OK"', headers: { "Content-Type": "application/json" } };

/** 202 is not a success: it says that nothing will be delivered. */
const LOGS_NOT_SUPPORTED: Answer = jsonAnswer(202, {
  errorMessage: "Logs API is not supported",
  errorType: "Logs.NotSupported",
});

/** The routes of the Telemetry API over `sandbox`. */
export function telemetryApi(sandbox: Sandbox): Route[] {
  return [
    {
      method: "PUT",
      path: /^\/2022-07-01\/telemetry$/,
      handle: whenEnabled(sandbox, (request) => subscribe(sandbox, request)),
    },
    { method: "PUT", path: /^\/2020-08-15\/logs$/, handle: () => LOGS_NOT_SUPPORTED },
  ];
}

async function subscribe(sandbox: Sandbox, { request }: ApiRequest): Promise<Answer> {
  const found = identify(sandbox, request, (id) => `Unknown extension ${id}`);
  if (!("extension" in found)) return found;
  const read = await readBody(request, BODY_BYTES_MAX);
  if (read.kind === "too-large") return TOO_LARGE;
  if (read.kind === "truncated") return TRUNCATED;
  if (!found.generation.roster.telemetryOpen)
    return forbidden("Telemetry.SubscriptionClosed", "Telemetry API subscription is closed");
  const subscription = parseSubscription(read.body.toString());
  if (typeof subscription === "string") return errorAnswer(400, "ValidationError", subscription);
  sandbox.relay.subscribe(found.extension.name, subscription);
  sandbox.platformLog.telemetrySubscription(found.extension.name, subscription);
  return SUBSCRIBED;
}
