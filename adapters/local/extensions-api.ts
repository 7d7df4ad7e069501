/**
 * The Extensions API, version 2020-01-01.
 *
 * Owns the form of its requests and the answers to misuse; the roster owns registration and events. Sources: "Using the Lambda
 * Extensions API" of the AWS Lambda Developer Guide; the runtime interface emulator, internal/lambda/rapi/handler/agent*.go and
 * rapi/middleware/middleware.go.
 */
import type { IncomingMessage } from "node:http";
import {
  ACCEPTED,
  type Answer,
  EXTENSIONS_DISABLED,
  forbidden,
  INTERNAL_ERROR,
  jsonAnswer,
  send,
  TOO_LARGE,
  TRUNCATED,
} from "./answers.ts";
import type { ApiRequest, Route } from "./api-server.ts";
import type { Generation } from "./generation.ts";
import { extensionsEnabled } from "./launch-plan.ts";
import { readBody } from "./request-body.ts";
import type { Extension } from "./roster.ts";
import type { Sandbox } from "./sandbox.ts";

/** A registration or an error report is small; this bounds what a client can make the emulator hold. */
const BODY_BYTES_MAX = 256 * 1024;

/** The routes of the Extensions API over `sandbox`. */
export function extensionsApi(sandbox: Sandbox): Route[] {
  return [
    {
      method: "POST",
      path: /^\/2020-01-01\/extension\/register$/,
      handle: whenEnabled(sandbox, (request) => register(sandbox, request)),
    },
    {
      method: "GET",
      path: /^\/2020-01-01\/extension\/event\/next$/,
      handle: whenEnabled(sandbox, (request) => next(sandbox, request)),
    },
    {
      method: "POST",
      path: /^\/2020-01-01\/extension\/init\/error$/,
      handle: whenEnabled(sandbox, (request) => reportError(sandbox, request, "initError")),
    },
    {
      method: "POST",
      path: /^\/2020-01-01\/extension\/exit\/error$/,
      handle: whenEnabled(sandbox, (request) => reportError(sandbox, request, "exitError")),
    },
  ];
}

/** Extensions can be switched off by a layer; then their APIs are an empty 404. */
export function whenEnabled(sandbox: Sandbox, handle: Route["handle"]): Route["handle"] {
  return (request) => (extensionsEnabled(sandbox.options) ? handle(request) : EXTENSIONS_DISABLED);
}

async function register(sandbox: Sandbox, { request }: ApiRequest): Promise<Answer> {
  const { generation, options, timeline } = sandbox;
  if (generation === undefined) return INTERNAL_ERROR;
  const name = request.headers["lambda-extension-name"];
  if (typeof name !== "string" || name === "")
    return forbidden("Extension.InvalidExtensionName", "Empty extension name");
  const read = await readBody(request, BODY_BYTES_MAX);
  if (read.kind === "too-large") return TOO_LARGE;
  if (read.kind === "truncated") return TRUNCATED;
  const events = parseEvents(read.body.toString());
  if (typeof events === "string") return forbidden("InvalidRequestFormat", events);
  const extension = generation.roster.register(name, events);
  if (!("state" in extension)) return extension;
  timeline.add("register", { process: name });
  const { functionName, functionVersion, handler, accountId } = options;
  const features = (request.headers["lambda-extension-accept-feature"] ?? "").toString().split(",");
  const account = features.some((feature) => feature.trim() === "accountId") ? { accountId } : {};
  return jsonAnswer(
    200,
    { ...account, functionName, functionVersion, handler },
    { "Lambda-Extension-Identifier": extension.id },
  );
}

/** The events in a registration, or what is wrong with its body. Field names match in any case, as in Go. */
function parseEvents(body: string): string[] | string {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch (error) {
    return body === "" ? "unexpected end of JSON input" : (error as Error).message;
  }
  if (typeof value !== "object" || Array.isArray(value))
    return "json: cannot unmarshal the body into an object with a list of events";
  const fields = Object.entries(value ?? {});
  const field = (name: string) => fields.findLast(([key]) => key.toLowerCase() === name)?.[1] ?? [];
  const events = field("events");
  const keys = field("configurationkeys");
  for (const list of [events, keys])
    if (!Array.isArray(list) || !list.every((item) => typeof item === "string"))
      return "json: cannot unmarshal events or configurationKeys into a list of strings";
  if (keys.length > 0) return "configurationKeys are deprecated; use environment variables instead";
  return events;
}

/** The identifier in canonical form, or the refusal. Accepts every spelling that Go's `uuid.Parse` does. */
function identifier(request: IncomingMessage): { id: string } | Answer {
  const given = request.headers["lambda-extension-identifier"];
  if (typeof given !== "string" || given === "")
    return forbidden("Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header");
  const bare = given.replace(/^urn:uuid:/i, "").replace(/^\{(.*)\}$/, "$1");
  const match =
    /^([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})$/i.exec(bare) ??
    /^([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})$/i.exec(bare);
  if (match === null)
    return forbidden("Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier");
  return { id: match.slice(1).join("-").toLowerCase() };
}

/** An extension that identified itself, and its generation. */
interface Identified {
  readonly generation: Generation;
  readonly extension: Extension;
}

/** Finds the extension that calls, or the refusal; `unknown` words the last one, which differs by call. */
export function identify(
  sandbox: Sandbox,
  request: IncomingMessage,
  unknown: (id: string) => string,
): Identified | Answer {
  const { generation } = sandbox;
  const checked = identifier(request);
  if (!("id" in checked)) return checked;
  if (generation === undefined) return INTERNAL_ERROR;
  const extension = generation.roster.byId(checked.id);
  return extension === undefined
    ? forbidden("Extension.UnknownExtensionIdentifier", unknown(checked.id))
    : { generation, extension };
}

function next(sandbox: Sandbox, { request, response }: ApiRequest): Answer | undefined {
  const found = identify(sandbox, request, (id) => `Unknown extension ${id}`);
  if (!("extension" in found)) return found;
  const { extension, generation } = found;
  const poll = (answer: Answer) => send(response, answer);
  response.once("close", () => generation.roster.forgetPoll(poll));
  const kind = extension.state === "Registered" ? "first-next" : "next";
  const refusal = generation.roster.extensionNext(extension, poll);
  if (refusal === undefined) sandbox.timeline.add(kind, { process: extension.name });
  return refusal;
}

/** `init/error` and `exit/error`: the extension says why, and is expected to exit; its exit then ends the generation. */
async function reportError(
  sandbox: Sandbox,
  { request }: ApiRequest,
  action: "initError" | "exitError",
): Promise<Answer> {
  const found = identify(sandbox, request, () => "Unknown Lambda-Extension-Identifier");
  const errorType = request.headers["lambda-extension-function-error-type"];
  if (typeof errorType !== "string" || errorType === "") {
    // The identifier's form is checked first, whom it belongs to last.
    if (!("extension" in found) && !isUnknown(found)) return found;
    return forbidden("Extension.MissingHeader", "Lambda-Extension-Function-Error-Type not found");
  }
  if (!("extension" in found)) return found;
  const { extension, generation } = found;
  const refusal = generation.roster.extensionError(extension, action, errorType);
  if (refusal !== undefined) return refusal;
  generation.noteFatal(action === "initError" ? "Extension.InitError" : "Extension.ExitError");
  return ACCEPTED;
}

function isUnknown(answer: Answer): boolean {
  return answer.body.includes("Extension.UnknownExtensionIdentifier");
}
