/**
 * How a Node function's console and errors look in the log.
 *
 * Owns both log formats of the service: tab-separated text, whose line feeds become carriage returns so that an entry stays one
 * line, and JSON. Source: aws-lambda-nodejs-runtime-interface-client, src/utils/LogPatch.
 */
import { format } from "node:util";

const LEVELS = { log: "INFO", trace: "TRACE", debug: "DEBUG", info: "INFO", warn: "WARN", error: "ERROR" };

let currentRequestId;

/** Names the invocation that the following lines belong to. */
export function setRequestId(requestId) {
  currentRequestId = requestId;
}

/** Makes every method of `console` write one entry to standard output. */
export function patchConsole() {
  const asJson = process.env.AWS_LAMBDA_LOG_FORMAT === "JSON";
  for (const [method, level] of Object.entries(LEVELS))
    console[method] = (...args) =>
      process.stdout.write(`${asJson ? jsonEntry(level, args) : textEntry(level, args)}\n`);
}

function textEntry(level, args) {
  const fields = [new Date().toISOString(), currentRequestId, level, format(...args.map(readable))];
  return fields.join("\t").replace(/\n/g, "\r");
}

function jsonEntry(level, args) {
  const [message] = args;
  const single = args.length === 1 && typeof message === "object" && !(message instanceof Error);
  return JSON.stringify({
    timestamp: new Date().toISOString(),
    level,
    requestId: currentRequestId,
    message: single ? message : format(...args.map(readable)),
  });
}

/** A described error is shown as the JSON that the platform gets. */
function readable(value) {
  return typeof value?.errorType === "string" ? JSON.stringify(value) : value;
}

/** The body of an error report. Anything can be thrown. */
export function describeError(error) {
  if (!(error instanceof Error)) return { errorType: typeof error, errorMessage: String(error), trace: [] };
  return {
    errorType: error.name,
    errorMessage: error.message,
    trace: (error.stack ?? "").split("\n"),
  };
}
