/**
 * One invocation: what the caller sent, what the runtime and the extensions are told, what the caller gets.
 *
 * Owns the headers of `/next`, the INVOKE event, trace header, error types and synthesised failure payloads, as pure functions
 * of the invocation. Sources: "Lambda runtime API" and "Lambda Extensions API" of the AWS Lambda Developer Guide; the runtime
 * interface emulator, internal/lambda/rapi/rendering/rendering.go and internal/lambda/fatalerror/fatalerror.go.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { goJson } from "./answers.ts";

/** What an invoker may say besides the payload. */
export interface InvokeContext {
  /** JSON text, handed to the runtime as `Lambda-Runtime-Client-Context`. */
  readonly clientContext?: string;
  /** A value of `X-Amzn-Trace-Id`; generated when absent. */
  readonly traceId?: string;
  /** Version or alias, appended to the ARN. */
  readonly qualifier?: string;
  /** `X-Amz-Tenant-Id` of a function in tenant isolation mode. */
  readonly tenantId?: string;
  readonly cognitoIdentity?: { readonly cognitoIdentityId: string; readonly cognitoIdentityPoolId: string };
  /** Content type of the payload, `application/json` by default. */
  readonly contentType?: string;
}

/** What the caller is answered. `functionError` is the value of `X-Amz-Function-Error`. */
export interface CallerAnswer {
  readonly payload: Buffer;
  readonly contentType: string;
  readonly functionError?: "Unhandled";
  /** The type of the error as the platform classifies it, e.g. `Runtime.ExitError`. */
  readonly errorType?: string;
}

/** An invocation that was accepted. Times are set once it runs. */
export interface Invocation extends InvokeContext {
  readonly requestId: string;
  /** Names this delivery; a runtime that echoes another one is answered 410. */
  readonly invocationId: string;
  readonly invokedFunctionArn: string;
  readonly traceId: string;
  readonly payload: Buffer;
  /** Epoch ms; the function timeout counted from the start of the invocation. */
  deadlineMs: number;
}

/** The headers of a 200 of `/runtime/invocation/next`. A header without a value is left out. */
export function nextHeaders(invocation: Invocation): Record<string, string> {
  const headers: Record<string, string> = {
    "Content-Type": visible(invocation.contentType ?? "application/json"),
    "Lambda-Runtime-Aws-Request-Id": invocation.requestId,
    "Lambda-Runtime-Deadline-Ms": invocation.deadlineMs.toString(),
    "Lambda-Runtime-Invoked-Function-Arn": invocation.invokedFunctionArn,
    "Lambda-Runtime-Trace-Id": invocation.traceId,
    "Lambda-Runtime-Invocation-Id": invocation.invocationId,
  };
  if (invocation.clientContext)
    headers["Lambda-Runtime-Client-Context"] = headerJson(invocation.clientContext);
  if (invocation.cognitoIdentity)
    headers["Lambda-Runtime-Cognito-Identity"] = headerJson(JSON.stringify(invocation.cognitoIdentity));
  if (invocation.tenantId) headers["Lambda-Runtime-Aws-Tenant-Id"] = visible(invocation.tenantId);
  return headers;
}

/** What a header may carry of a text: visible ASCII and spaces (RFC 9110, section 5.5). */
function visible(text: string): string {
  return text.replace(/[^ -~]/g, "");
}

/** JSON that means the same and fits in a header: line breaks between tokens become spaces, other characters are escaped. */
function headerJson(json: string): string {
  return json
    .replace(/[\t\r\n]/g, " ")
    .replace(/[^ -~]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** The INVOKE event of the Extensions API. It must agree with `nextHeaders`. */
export function invokeEvent(invocation: Invocation): object {
  return {
    eventType: "INVOKE",
    deadlineMs: invocation.deadlineMs,
    requestId: invocation.requestId,
    invokedFunctionArn: invocation.invokedFunctionArn,
    tracing: { type: "X-Amzn-Trace-Id", value: invocation.traceId },
  };
}

/** The SHUTDOWN event of the Extensions API; the reason is lower-case on the wire. */
export function shutdownEvent(reason: ShutdownReason, deadlineMs: number): object {
  return { eventType: "SHUTDOWN", deadlineMs, shutdownReason: reason };
}

/** Why an environment ends. */
export type ShutdownReason = "spindown" | "timeout" | "failure";

/** The first thing that went fatally wrong; the type of the first one wins. */
export interface Fatal {
  readonly type: string;
  readonly message: string;
}

/** What the caller gets when the function could not answer. */
export function failureAnswer(requestId: string, fatal: Fatal): CallerAnswer {
  const errorMessage = `RequestId: ${requestId} Error: ${fatal.message}`;
  return unhandled(fatal.type, goJson({ errorType: fatal.type, errorMessage }));
}

/** What the caller gets at the function timeout, in the form of the managed service. */
export function timeoutAnswer(requestId: string, timeoutMs: number): CallerAnswer {
  return failureAnswer(requestId, { type: "Sandbox.Timedout", message: timeoutMessage(timeoutMs) });
}

/** The sentence of a timeout; also the line in the log. */
export function timeoutMessage(timeoutMs: number): string {
  return `Task timed out after ${(timeoutMs / 1000).toFixed(2)} seconds`;
}

/** What the caller gets when the answer was larger than a payload may be. */
export function tooLargeAnswer(sizeBytes: number, sizeBytesMax: number): CallerAnswer {
  const errorType = "Function.ResponseSizeTooLarge";
  const errorMessage = `Response payload size (${sizeBytes} bytes) exceeded maximum allowed payload size (${sizeBytesMax} bytes).`;
  return unhandled(errorType, goJson({ errorType, errorMessage }));
}

/** An answer that carries a function error. */
export function unhandled(
  errorType: string,
  payload: string | Buffer,
  contentType = "application/json",
): CallerAnswer {
  return { payload: Buffer.from(payload), contentType, functionError: "Unhandled", errorType };
}

/** The error type that the platform keeps of what a runtime said: anything that looks like one of ours, else the unknown. */
export function knownErrorType(said: string | undefined): string {
  if (said !== undefined && /(Runtime|Function)\.[A-Z][a-zA-Z]+/.test(said)) return said;
  return said?.startsWith("Function.") ? "Function.Unknown" : "Runtime.Unknown";
}

/**
 * The `X-Amzn-Trace-Id` of an invocation. Of a given value every field is kept as it is, and what a function may rely on
 * (Root, Parent, Sampled) is added; without one a new trace begins, with a Lineage as the service adds it.
 */
export function traceHeader(given: string | undefined, sampled: boolean, epochMs: number): string {
  const fields = (given ?? "").split(";").filter((field) => field.includes("="));
  const has = (name: string) => fields.some((field) => field.trim().toLowerCase().startsWith(`${name}=`));
  if (!has("root")) {
    const epoch = Math.floor(epochMs / 1000)
      .toString(16)
      .padStart(8, "0");
    fields.unshift(`Root=1-${epoch}-${randomBytes(12).toString("hex")}`);
    if (!has("lineage")) fields.push(`Lineage=1:${randomBytes(4).toString("hex")}:0`);
  }
  if (!has("parent")) fields.splice(1, 0, `Parent=${randomBytes(8).toString("hex")}`);
  if (!has("sampled")) fields.splice(2, 0, `Sampled=${sampled ? 1 : 0}`);
  return fields.join(";");
}

/** The span id in a trace header, for the `tracing` of telemetry events. */
export function parentSpanId(traceId: string): string | undefined {
  return /(?:^|;)\s*Parent=([^;]+)/i.exec(traceId)?.[1];
}

/** Accepts an invocation. `deadlineMs` stays 0 until it runs. */
export function acceptInvocation(
  functionArn: string,
  payload: Buffer,
  context: InvokeContext,
  trace: { sampled: boolean; epochMs: number },
): Invocation {
  const { qualifier } = context;
  return {
    ...context,
    requestId: randomUUID(),
    invocationId: randomUUID(),
    invokedFunctionArn: visible(qualifier ? `${functionArn}:${qualifier}` : functionArn),
    traceId: visible(traceHeader(context.traceId, trace.sampled, trace.epochMs)),
    payload,
    deadlineMs: 0,
  };
}
