/**
 * The Runtime API, version 2018-06-01.
 *
 * Owns what each call does to the roster and to the invocation that runs, and every answer to misuse. Sources: "Using the Lambda
 * runtime API" of the AWS Lambda Developer Guide; the runtime interface emulator, internal/lambda/rapi/. The restore calls of
 * SnapStart and the credentials endpoint do not exist, as on a function without SnapStart.
 */
import type { IncomingMessage } from "node:http";
import {
  ACCEPTED,
  type Answer,
  goJson,
  INTERNAL_ERROR,
  INVALID_INVOCATION_ID,
  INVALID_REQUEST_ID,
  INVALID_RESPONSE_MODE,
  invalidStateTransition,
  PAYLOAD_BYTES_MAX,
  send,
  TOO_LARGE,
  TRUNCATED,
} from "./answers.ts";
import type { ApiRequest, Route } from "./api-server.ts";
import { errorCauseJson } from "./error-cause.ts";
import type { Generation } from "./generation.ts";
import { failureAnswer, knownErrorType, tooLargeAnswer, unhandled } from "./invocation.ts";
import type { InvocationRun } from "./invoke-flow.ts";
import { type BodyRead, readBody } from "./request-body.ts";
import type { Sandbox } from "./sandbox.ts";
import { runtimeRefusal } from "./states.ts";

const CAUSE_CONTENT_TYPE = "application/vnd.aws.lambda.error.cause+json";

/** The routes of the Runtime API over `sandbox`. */
export function runtimeApi(sandbox: Sandbox): Route[] {
  return [
    { method: "GET", path: /^\/2018-06-01\/ping$/, handle: () => PONG },
    {
      method: "GET",
      path: /^\/2018-06-01\/runtime\/invocation\/next$/,
      handle: (request) => next(sandbox, request),
    },
    {
      method: "POST",
      path: /^\/2018-06-01\/runtime\/invocation\/([^/]+)\/response$/,
      handle: (request) => withInvocation(sandbox, request, respond),
    },
    {
      method: "POST",
      path: /^\/2018-06-01\/runtime\/invocation\/([^/]+)\/error$/,
      handle: (request) => withInvocation(sandbox, request, reportError),
    },
    {
      method: "POST",
      path: /^\/2018-06-01\/runtime\/init\/error$/,
      handle: (request) => initError(sandbox, request),
    },
  ];
}

const PONG: Answer = { status: 200, body: "pong", headers: { "Content-Type": "text/plain; charset=utf-8" } };

function next({ generation, timeline }: Sandbox, { response }: ApiRequest): Answer | undefined {
  if (generation === undefined) return INTERNAL_ERROR;
  const { roster } = generation;
  const poll = (answer: Answer) => send(response, answer);
  response.once("close", () => roster.forgetPoll(poll));
  const kind = roster.runtime.state === "Started" ? "first-next" : "next";
  const refusal = roster.runtimeNext(poll);
  if (refusal === undefined) timeline.add(kind, { process: "runtime" });
  return refusal;
}

/** A call about the invocation that runs, with everything it may touch. */
interface InvocationCall {
  readonly request: IncomingMessage;
  readonly generation: Generation;
  readonly run: InvocationRun;
  readonly sandbox: Sandbox;
}

/** Checks that the call is about the invocation that runs, and about this delivery of it when the runtime says which. */
function withInvocation(
  sandbox: Sandbox,
  { request, params }: ApiRequest,
  handle: (call: InvocationCall) => Promise<Answer>,
): Promise<Answer> | Answer {
  const { generation, current: run } = sandbox;
  if (generation === undefined || run === undefined || params[0] !== run.invocation.requestId)
    return INVALID_REQUEST_ID;
  const echoed = request.headers["lambda-runtime-invocation-id"];
  if (echoed !== undefined && echoed !== run.invocation.invocationId) return INVALID_INVOCATION_ID;
  return handle({ request, generation, run, sandbox });
}

async function respond(call: InvocationCall): Promise<Answer> {
  const { request, generation, run, sandbox } = call;
  const { roster } = generation;
  const { state } = roster.runtime;
  if (!roster.advanceRuntime("response")) return invalidStateTransition(runtimeRefusal(state, "response"));
  run.responseStartedMs = sandbox.clock.now();
  const mode = request.headers["lambda-runtime-function-response-mode"];
  if (mode !== undefined && mode !== "streaming") {
    // The runtime stays where it is, as in the original: whoever sends a mode that does not exist must restart.
    settle(call, () => run.giveAnswer(unhandled("Runtime.InvalidResponseModeHeader", "")));
    return INVALID_RESPONSE_MODE;
  }
  const read = await readBody(request, PAYLOAD_BYTES_MAX);
  run.responseEndedMs = sandbox.clock.now();
  const answer = takeResponse(call, read);
  roster.advanceRuntime("responseSent");
  return answer;
}

/** Turns a body into the caller's answer and the runtime's. A stream that failed says so in its trailers. */
function takeResponse(call: InvocationCall, read: BodyRead): Answer {
  const { run, request } = call;
  const { requestId } = run.invocation;
  if (read.kind === "too-large") {
    settle(call, () => run.giveAnswer(tooLargeAnswer(read.sizeBytes, PAYLOAD_BYTES_MAX)));
    return TOO_LARGE;
  }
  if (read.kind === "truncated") {
    const fatal = { type: "Runtime.TruncatedResponse", message: "HTTP request detected as truncated" };
    settle(call, () => run.giveAnswer(failureAnswer(requestId, fatal)));
    return TRUNCATED;
  }
  run.producedBytes = read.body.length;
  const errorType = read.trailers["lambda-runtime-function-error-type"];
  const contentType = request.headers["content-type"] ?? "application/json";
  settle(call, () => {
    if (!errorType) return run.giveAnswer({ payload: read.body, contentType });
    const body = Buffer.from(read.trailers["lambda-runtime-function-error-body"] ?? "", "base64");
    run.giveAnswer(unhandled(knownErrorType(errorType), body));
  });
  return ACCEPTED;
}

/** Answers the caller and lets the flow see it. */
function settle({ generation, run, sandbox }: InvocationCall, give: () => void): void {
  if (run.answer === undefined)
    sandbox.timeline.add("response", { process: "runtime", requestId: run.invocation.requestId });
  give();
  generation.recheck();
}

async function reportError(call: InvocationCall): Promise<Answer> {
  const { request, generation, run, sandbox } = call;
  const { roster } = generation;
  const { state } = roster.runtime;
  if (!roster.advanceRuntime("error")) return invalidStateTransition(runtimeRefusal(state, "error"));
  run.responseStartedMs = sandbox.clock.now();
  const read = await readBody(request, PAYLOAD_BYTES_MAX);
  run.responseEndedMs = sandbox.clock.now();
  const errorType = knownErrorType(header(request, "lambda-runtime-function-error-type"));
  let answer = ACCEPTED;
  if (read.kind === "too-large") answer = TOO_LARGE;
  if (read.kind === "truncated") answer = TRUNCATED;
  const error = errorBody(request, read.kind === "complete" ? read.body : Buffer.alloc(0));
  run.errorCause = error.cause === undefined ? undefined : errorCauseJson(error.cause);
  settle(call, () => run.giveAnswer(unhandled(errorType, error.payload, error.contentType)));
  roster.advanceRuntime("responseSent");
  return answer;
}

/** The payload for the caller and the cause for X-Ray, which come in one body or in a body and a header. */
function errorBody(
  request: IncomingMessage,
  body: Buffer,
): { payload: Buffer; contentType: string; cause: string | undefined } {
  const contentType = request.headers["content-type"] ?? "application/json";
  if (contentType !== CAUSE_CONTENT_TYPE)
    return {
      payload: body,
      contentType,
      cause: header(request, "lambda-runtime-function-xray-error-cause"),
    };
  try {
    const { errorMessage = "", errorType = "", stackTrace, errorCause } = JSON.parse(body.toString());
    const visible = { errorMessage, errorType, ...(stackTrace?.length > 0 ? { stackTrace } : {}) };
    return {
      payload: Buffer.from(goJson(visible)),
      contentType: "application/json",
      cause: errorCause === undefined ? undefined : JSON.stringify(errorCause),
    };
  } catch {
    return {
      payload: Buffer.from('"Invalid error body"'),
      contentType: "application/octet-stream",
      cause: undefined,
    };
  }
}

/** `init/error`: the runtime says why, and is expected to exit; its exit then ends the init. */
async function initError(sandbox: Sandbox, { request }: ApiRequest): Promise<Answer> {
  const { generation, current: run } = sandbox;
  if (generation === undefined) return INTERNAL_ERROR;
  const { state } = generation.roster.runtime;
  const read = await readBody(request, PAYLOAD_BYTES_MAX);
  if (!generation.roster.advanceRuntime("initError"))
    return invalidStateTransition(runtimeRefusal(state, "initError"));
  const errorType = knownErrorType(header(request, "lambda-runtime-function-error-type"));
  generation.noteFatal(errorType);
  if (read.kind === "too-large") return TOO_LARGE;
  if (read.kind === "truncated") return TRUNCATED;
  // During a retried init there is a caller, who gets the runtime's own words.
  run?.giveAnswer(unhandled(errorType, read.body));
  return ACCEPTED;
}

function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(", ") : value;
}
