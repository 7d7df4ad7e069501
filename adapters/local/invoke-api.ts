/**
 * The Invoke endpoint, as far as `curl` and an AWS SDK need it: Lambda's `Invoke`, version 2015-03-31.
 *
 * Owns the translation between HTTP and an invocation. Signatures are not checked, and a request that names another host than
 * this machine is refused, so that no web page can reach the function. Source: "Invoke" of the AWS Lambda API reference.
 */
import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { type Answer, PAYLOAD_BYTES_MAX } from "./answers.ts";
import type { ApiRequest, Route } from "./api-server.ts";
import type { CallerAnswer, InvokeContext } from "./invocation.ts";
import type { ResolvedOptions } from "./options.ts";
import { readBody } from "./request-body.ts";
import { type Invoked, InvokeRefused, type Sandbox } from "./sandbox.ts";

/** Any function goes by this name too, as in the runtime interface emulator. */
const ALIAS = "function";

/** Largest payload of an asynchronous invocation in bytes (Lambda quotas). */
const EVENT_BYTES_MAX = 1024 * 1024;

const STATUS = {
  AccessDeniedException: 403,
  InvalidParameterValueException: 400,
  InvalidRequestContentException: 400,
  RequestTooLargeException: 413,
  ResourceNotFoundException: 404,
  ServiceException: 500,
  TooManyRequestsException: 429,
} as const;

/** The path of the endpoint for a function's name. */
export function invokePath(functionName: string): string {
  return `/2015-03-31/functions/${encodeURIComponent(functionName)}/invocations`;
}

/** The routes of the Invoke endpoint over `sandbox`. */
export function invokeApi(sandbox: Sandbox): Route[] {
  return [
    {
      method: "POST",
      path: /^\/2015-03-31\/functions\/([^/]+)\/invocations\/?$/,
      handle: (request) => invoke(sandbox, request),
    },
  ];
}

async function invoke(sandbox: Sandbox, { request, params, query }: ApiRequest): Promise<Answer> {
  if (!isLocal(request.headers.host))
    return problem(
      "AccessDeniedException",
      `The emulator serves this machine only, not ${request.headers.host}.`,
    );
  const target = resolveFunction(sandbox.options, params[0]!, query.get("Qualifier"));
  if (target === undefined)
    return problem(
      "ResourceNotFoundException",
      `Function not found: ${functionArn(sandbox.options, params[0]!)}`,
    );
  const type = header(request, "x-amz-invocation-type") ?? "RequestResponse";
  if (!["RequestResponse", "Event", "DryRun"].includes(type))
    return problem(
      "InvalidParameterValueException",
      `X-Amz-Invocation-Type must be RequestResponse, Event or DryRun, not ${type}.`,
    );
  const bytesMax = type === "Event" ? EVENT_BYTES_MAX : PAYLOAD_BYTES_MAX;
  const read = await readBody(request, bytesMax);
  if (read.kind === "too-large")
    return problem(
      "RequestTooLargeException",
      `Request must be smaller than ${bytesMax} bytes for the InvokeFunction operation`,
    );
  if (read.kind === "truncated") return problem("InvalidRequestContentException", "The body was cut.");
  const payload = read.body.length === 0 ? Buffer.from("{}") : read.body;
  const context = invokeContext(request, target.qualifier);
  const obstacle = typeof context === "string" ? context : jsonProblem(payload);
  if (obstacle !== undefined) return problem("InvalidRequestContentException", obstacle);
  if (type === "DryRun") return { status: 204, body: "", headers: { "x-amzn-RequestId": randomUUID() } };
  return start(sandbox, payload, context as InvokeContext, {
    async: type === "Event",
    tail: header(request, "x-amz-log-type")?.toLowerCase() === "tail",
  });
}

/** Starts the invocation and waits for as much of it as the caller asked for. */
async function start(
  sandbox: Sandbox,
  payload: Buffer,
  context: InvokeContext,
  mode: { async: boolean; tail: boolean },
): Promise<Answer> {
  let invoked: Invoked;
  try {
    invoked = sandbox.invoke(payload, context);
  } catch (error) {
    if (error instanceof InvokeRefused) return problem(error.code, error.message);
    throw error;
  }
  if (mode.async) return { status: 202, body: "", headers: { "x-amzn-RequestId": invoked.requestId } };
  const { functionVersion } = sandbox.options;
  // The tail ends with the REPORT line, which is written when the extensions are done too.
  const tail = mode.tail ? (await invoked.done).logTail : undefined;
  return resultAnswer(invoked, await invoked.answered, functionVersion, tail);
}

function resultAnswer(
  { requestId, traceId }: Invoked,
  answer: CallerAnswer,
  version: string,
  tail: string | undefined,
): Answer {
  return {
    status: 200,
    body: answer.payload,
    headers: {
      "Content-Type": answer.contentType,
      "X-Amz-Executed-Version": version,
      "x-amzn-RequestId": requestId,
      "X-Amzn-Trace-Id": traceId,
      ...(answer.functionError === undefined ? {} : { "X-Amz-Function-Error": answer.functionError }),
      ...(tail === undefined ? {} : { "X-Amz-Log-Result": Buffer.from(tail).toString("base64") }),
    },
  };
}

/** What the headers say, or what is wrong with them. */
function invokeContext(request: IncomingMessage, qualifier: string | undefined): InvokeContext | string {
  const encoded = header(request, "x-amz-client-context");
  const clientContext = encoded === undefined ? undefined : Buffer.from(encoded, "base64").toString();
  if (clientContext !== undefined && jsonProblem(Buffer.from(clientContext)) !== undefined)
    return "X-Amz-Client-Context must be base64-encoded JSON.";
  const traceId = header(request, "x-amzn-trace-id");
  const tenantId = header(request, "x-amz-tenant-id");
  return {
    ...(clientContext === undefined ? {} : { clientContext }),
    ...(traceId === undefined ? {} : { traceId }),
    ...(tenantId === undefined ? {} : { tenantId }),
    ...(qualifier === undefined ? {} : { qualifier }),
  };
}

/** A name, a name with a qualifier, a partial or a whole ARN. */
function resolveFunction(
  options: ResolvedOptions,
  given: string,
  queryQualifier: string | null,
): { qualifier: string | undefined } | undefined {
  const match = /^(?:(?:arn:[^:]*:lambda:[^:]*:)?\d+:function:)?([^:]+)(?::([^:]+))?$/.exec(given);
  if (match === null || (match[1] !== options.functionName && match[1] !== ALIAS)) return undefined;
  const qualifier = queryQualifier ?? match[2];
  // The grammar of versions and aliases (Lambda API reference, Invoke).
  if (qualifier !== undefined && !/^[A-Za-z0-9$_-]{1,128}$/.test(qualifier)) return undefined;
  return { qualifier };
}

function functionArn({ region, accountId }: ResolvedOptions, name: string): string {
  return `arn:aws:lambda:${region}:${accountId}:function:${name}`;
}

/** The host of a request, without its port, must be a name of the loopback interface. */
function isLocal(host: string | undefined): boolean {
  return host === undefined || /^(?:localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?$/i.test(host);
}

function jsonProblem(payload: Buffer): string | undefined {
  try {
    JSON.parse(payload.toString());
    return undefined;
  } catch (error) {
    return `Could not parse request body into json: ${(error as Error).message}`;
  }
}

function problem(type: keyof typeof STATUS, message: string): Answer {
  const body = {
    ...(type === "TooManyRequestsException"
      ? { Reason: "ReservedFunctionConcurrentInvocationLimitExceeded" }
      : {}),
    Type: type === "ServiceException" ? "Service" : "User",
    message,
  };
  return {
    status: STATUS[type],
    body: JSON.stringify(body),
    headers: {
      "Content-Type": "application/json",
      "x-amzn-ErrorType": type,
      "x-amzn-RequestId": randomUUID(),
    },
  };
}

function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}
