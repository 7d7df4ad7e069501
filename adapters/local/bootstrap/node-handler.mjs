/**
 * Finds the function that `_HANDLER` names.
 *
 * Owns the grammar of a handler name (folders, then a file, a dot and the path of an export), the files that are tried and the
 * error types of the service. Both module systems are loaded by `import`.
 */
import { existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { isStreaming } from "./node-streaming.mjs";

const EXTENSIONS = [".js", ".mjs", ".cjs"];

function typed(name, message, cause) {
  return Object.assign(new Error(message, { cause }), { name });
}

/** Loads the handler, or throws an error whose name is a `Runtime.…` type. */
export async function loadHandler(taskRoot, handlerName = "") {
  const file = basename(handlerName);
  const dot = file.indexOf(".");
  if (handlerName.includes("..") || dot <= 0 || dot === file.length - 1)
    throw typed("Runtime.MalformedHandlerName", `Bad handler: ${handlerName}; name it as file.function`);
  const module = join(dirname(handlerName), file.slice(0, dot));
  const path = file.slice(dot + 1);
  const handler = exported(await importModule(taskRoot, module), path.split("."));
  if (handler === undefined)
    throw typed("Runtime.HandlerNotFound", `${handlerName} is undefined or not exported`);
  if (typeof handler !== "function")
    throw typed("Runtime.HandlerNotFound", `${handlerName} is not a function`);
  if (handler.length >= 3 && !isStreaming(handler))
    throw typed(
      "Runtime.CallbackHandlerDeprecated",
      "Callback-based function handlers are not supported from Node.js 24 on; use an async handler",
    );
  return handler;
}

async function importModule(taskRoot, module) {
  const file = EXTENSIONS.map((extension) => join(taskRoot, `${module}${extension}`)).find(existsSync);
  if (file === undefined)
    throw typed("Runtime.ImportModuleError", `Error: Cannot find module '${module}' in ${taskRoot}`);
  try {
    return await import(pathToFileURL(file).href);
  } catch (error) {
    if (error instanceof SyntaxError)
      throw typed("Runtime.UserCodeSyntaxError", `SyntaxError: ${error.message}`, error);
    if (error?.code === "ERR_MODULE_NOT_FOUND" || error?.code === "MODULE_NOT_FOUND")
      throw typed("Runtime.ImportModuleError", `Error: ${error.message}`, error);
    throw error;
  }
}

/** CommonJS exports are on `default` where Node could not name them. */
function exported(module, path) {
  const from = (root) => path.reduce((value, name) => value?.[name], root);
  return from(module) ?? from(module.default);
}
