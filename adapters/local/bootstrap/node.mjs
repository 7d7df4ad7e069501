/**
 * The runtime interface client of the Node runtime: fetches events, calls the handler, returns what it says.
 *
 * Owns the loop, the context object and the fatal ends of the process. Uses what Node brings and nothing else. Sources: "Building
 * a custom runtime" and "Define Lambda function handler in Node.js" of the AWS Lambda Developer Guide;
 * aws-lambda-nodejs-runtime-interface-client, src/.
 */
import { createClient } from "./node-client.mjs";
import { loadHandler } from "./node-handler.mjs";
import { describeError, patchConsole, setRequestId } from "./node-logging.mjs";
import { installStreaming, isStreaming, runStreaming } from "./node-streaming.mjs";

const client = createClient(process.env.AWS_LAMBDA_RUNTIME_API ?? "");
let requestId;

function makeContext(headers) {
  const deadlineMs = Number(headers["lambda-runtime-deadline-ms"]);
  const { env } = process;
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    awsRequestId: headers["lambda-runtime-aws-request-id"],
    clientContext: parseJson(headers["lambda-runtime-client-context"]),
    identity: parseJson(headers["lambda-runtime-cognito-identity"]),
    tenantId: headers["lambda-runtime-aws-tenant-id"],
    getRemainingTimeInMillis: () => deadlineMs - Date.now(),
  };
}

function parseJson(text) {
  return text === undefined ? undefined : JSON.parse(text);
}

/** Reports why the process ends, about the invocation that runs or else about the init phase, and ends it. */
async function die(errorType, error, exitCode) {
  const body = { ...describeError(error), errorType: errorType ?? error?.name ?? "Error" };
  console.error(exitCode === 129 ? "Uncaught Exception " : "Unhandled Promise Rejection ", body);
  try {
    if (requestId === undefined) await client.initError(body);
    else await client.error(requestId, body);
  } finally {
    process.exit(exitCode);
  }
}

/** The loop emptied while the handler's promise was open: nothing can settle it any more. */
async function promiseNeverSettled() {
  if (requestId === undefined) return;
  const errorMessage =
    "The Lambda runtime client detected an unexpected Node.js exit code. This is most commonly caused by a Promise that was never settled. For more information, see https://nodejs.org/docs/latest/api/process.html#exit-codes";
  await client.error(requestId, { errorType: "Runtime.NodeJsExit", errorMessage, trace: [] });
  process.exit(13);
}

async function handle(handler, { headers, body }) {
  requestId = headers["lambda-runtime-aws-request-id"];
  setRequestId(requestId);
  const traceId = headers["lambda-runtime-trace-id"];
  if (traceId === undefined) delete process.env._X_AMZN_TRACE_ID;
  else process.env._X_AMZN_TRACE_ID = traceId;
  try {
    const event = JSON.parse(body);
    const context = makeContext(headers);
    if (isStreaming(handler)) await runStreaming(client, requestId, handler, event, context);
    else await client.respond(requestId, serialise(await handler(event, context)));
  } catch (error) {
    const described = describeError(error);
    console.error("Invoke Error ", described);
    await client.error(requestId, described);
  }
  requestId = undefined;
}

/** `undefined` becomes null, and what JSON cannot say is an error of the function. */
function serialise(result) {
  try {
    return JSON.stringify(result === undefined ? null : result);
  } catch (cause) {
    throw Object.assign(new Error("Unable to stringify response body", { cause }), {
      name: "Runtime.UnserializableResponse",
    });
  }
}

patchConsole();
installStreaming();
process.on("uncaughtException", (error) => die(error?.name, error, 129));
process.on("unhandledRejection", (reason) => die("Runtime.UnhandledPromiseRejection", reason, 128));
process.on("beforeExit", promiseNeverSettled);

let handler;
try {
  handler = await loadHandler(process.env.LAMBDA_TASK_ROOT, process.env._HANDLER);
} catch (error) {
  const described = describeError(error);
  console.error("Uncaught Exception ", described);
  await client.initError(described);
  process.exit(129);
}
for (;;) await handle(handler, await client.next());
