/**
 * The environment variables of the runtime and of the extensions.
 *
 * Owns which variables exist, which a function may not set, and which an extension does not see. Pure. Sources: "Working with
 * Lambda environment variables" and "Lambda Extensions API" of the AWS Lambda Developer Guide; the runtime interface emulator,
 * internal/lambda/rapidcore/env/. The caller's own environment never leaks in.
 */
import { dirname } from "node:path";
import type { ResolvedOptions } from "./options.ts";

/** Names that the platform sets and a function's configuration may not. */
const RESERVED: ReadonlySet<string> = new Set([
  "_HANDLER",
  "_X_AMZN_TRACE_ID",
  "AWS_DEFAULT_REGION",
  "AWS_REGION",
  "AWS_EXECUTION_ENV",
  "AWS_LAMBDA_FUNCTION_NAME",
  "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
  "AWS_LAMBDA_FUNCTION_VERSION",
  "AWS_LAMBDA_INITIALIZATION_TYPE",
  "AWS_LAMBDA_LOG_GROUP_NAME",
  "AWS_LAMBDA_LOG_STREAM_NAME",
  "AWS_ACCESS_KEY",
  "AWS_ACCESS_KEY_ID",
  "AWS_SECRET_ACCESS_KEY",
  "AWS_SESSION_TOKEN",
  "AWS_LAMBDA_RUNTIME_API",
  "LAMBDA_TASK_ROOT",
  "LAMBDA_RUNTIME_DIR",
]);

/** All keys and values of a function's configuration together, in bytes. */
const ENV_BYTES_MAX = 4096;

/** What is wrong with the variables of a function's configuration; empty when nothing is. */
export function environmentProblems(env: Readonly<Record<string, string>>): string[] {
  const problems: string[] = [];
  for (const name of Object.keys(env)) {
    if (RESERVED.has(name)) problems.push(`env: ${name} is set by Lambda itself; remove it`);
    else if (!/^[A-Za-z][A-Za-z0-9_]+$/.test(name))
      problems.push(
        `env: "${name}" is not a name that Lambda allows; use a letter, then letters, digits or _, at least two characters`,
      );
  }
  const bytes = Object.entries(env).reduce(
    (sum, [name, value]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value),
    0,
  );
  if (bytes > ENV_BYTES_MAX)
    problems.push(
      `env: names and values take ${bytes} bytes, Lambda allows ${ENV_BYTES_MAX}; move large values to a file`,
    );
  return problems;
}

/** The environment of the runtime process. `runtimeApi` is `host:port`. What the function's configuration sets wins where Lambda lets it. */
export function functionEnvironment(options: ResolvedOptions, runtimeApi: string): Record<string, string> {
  const { optRoot, taskRoot } = options;
  const env: Record<string, string> = {
    PATH: [dirname(options.nodePath), "/usr/local/bin", "/usr/bin", "/bin", `${optRoot ?? "/opt"}/bin`].join(
      ":",
    ),
    LD_LIBRARY_PATH: [taskRoot, `${taskRoot}/lib`, ...(optRoot ? [`${optRoot}/lib`] : [])].join(":"),
    LANG: "en_US.UTF-8",
    TZ: ":UTC",
    TMPDIR: options.tmpDir,
    AWS_XRAY_CONTEXT_MISSING: "LOG_ERROR",
    AWS_LAMBDA_LOG_FORMAT: options.logFormat,
    ...(options.runtime === "node" ? { NODE_PATH: nodePath(options) } : {}),
    ...(options.runtime === "python" ? { PYTHONPATH: pythonPath(options) } : {}),
    ...options.env,
    AWS_REGION: options.region,
    AWS_DEFAULT_REGION: options.region,
    AWS_ACCESS_KEY_ID: options.credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: options.credentials.secretAccessKey,
    AWS_SESSION_TOKEN: options.credentials.sessionToken,
    AWS_LAMBDA_FUNCTION_NAME: options.functionName,
    AWS_LAMBDA_FUNCTION_VERSION: options.functionVersion,
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: options.memoryMb.toString(),
    AWS_LAMBDA_INITIALIZATION_TYPE: "on-demand",
    AWS_LAMBDA_LOG_GROUP_NAME: `/aws/lambda/${options.functionName}`,
    AWS_LAMBDA_LOG_STREAM_NAME: options.logStreamName,
    AWS_LAMBDA_RUNTIME_API: runtimeApi,
    LAMBDA_TASK_ROOT: taskRoot,
    LAMBDA_RUNTIME_DIR: options.runtimeDir,
    _HANDLER: options.handler,
  };
  if (options.runtime === "custom") env.AWS_EXECUTION_ENV = "AWS_Lambda_provided.al2023";
  else env.AWS_EXECUTION_ENV = `AWS_Lambda_${options.runtimeName}`;
  const wrapper = env.AWS_LAMBDA_EXEC_WRAPPER;
  if (wrapper !== undefined) env.AWS_LAMBDA_EXEC_WRAPPER = localPath(options, wrapper);
  return env;
}

/**
 * The environment of an extension: the function's, without what only the runtime knows and without every name that begins
 * with an underscore.
 */
export function extensionEnvironment(functionEnv: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(functionEnv).filter(([name]) => !name.startsWith("_") && !NOT_FOR_EXTENSIONS.has(name)),
  );
}

const NOT_FOR_EXTENSIONS: ReadonlySet<string> = new Set([
  "AWS_EXECUTION_ENV",
  "AWS_LAMBDA_LOG_GROUP_NAME",
  "AWS_LAMBDA_LOG_STREAM_NAME",
  "AWS_XRAY_CONTEXT_MISSING",
  "AWS_XRAY_DAEMON_ADDRESS",
  "LAMBDA_RUNTIME_DIR",
  "LAMBDA_TASK_ROOT",
]);

/** A path under /opt or /var/task, as a function's configuration names it, is looked for in the folder that stands for it here. */
function localPath(options: ResolvedOptions, path: string): string {
  if (options.optRoot && path.startsWith("/opt/")) return options.optRoot + path.slice("/opt".length);
  if (path.startsWith("/var/task/")) return options.taskRoot + path.slice("/var/task".length);
  return path;
}

/** Where CommonJS looks for what layers bring. */
function nodePath(options: ResolvedOptions): string {
  const major = /\d+/.exec(options.runtimeName)?.[0] ?? "";
  const root = options.optRoot ?? "/opt";
  return [
    `${root}/nodejs/node${major}/node_modules`,
    `${root}/nodejs/node_modules`,
    `${options.taskRoot}/node_modules`,
  ].join(":");
}

/** Where Python looks for what layers bring. */
function pythonPath({ optRoot, taskRoot }: ResolvedOptions): string {
  return [taskRoot, `${optRoot ?? "/opt"}/python`].join(":");
}
