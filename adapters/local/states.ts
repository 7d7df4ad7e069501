/**
 * The state machines of the Lambda execution environment, as pure tables.
 *
 * Owns which call is legal in which state, and the state that follows. Knows no sockets, processes or time. State names are
 * part of the wire format (they appear in refusals), so they are spelled as the runtime interface emulator spells them
 * (aws-lambda-runtime-interface-emulator, internal/lambda/core/{states,externalagent_states,internalagent_states}.go).
 * SnapStart's restore states are not emulated, so they are not in the tables.
 */

/** A state of the runtime process; the name is what a refusal prints. */
export type RuntimeState =
  | "Started"
  | "InitError"
  | "Ready"
  | "Running"
  | "InvocationResponse"
  | "InvocationErrorResponse"
  | "RuntimeResponseSentState";

/** What happens to a runtime: a call of its own, `released` (an event was handed to it) or `responseSent` (its answer was taken). */
export type RuntimeAction = "next" | "released" | "initError" | "response" | "error" | "responseSent";

/** A state of an extension; the name is what a refusal and the `platform.extension` event print. */
export type ExtensionState =
  | "Started"
  | "Registered"
  | "Ready"
  | "Running"
  | "InitError"
  | "ExitError"
  | "ShutdownFailed"
  | "Exited"
  | "LaunchError";

/** What happens to an extension: a call of its own, `released` (an event was handed to it), or the fate of its process. */
export type ExtensionAction =
  | "register"
  | "next"
  | "released"
  | "initError"
  | "exitError"
  | "launchError"
  | "exited"
  | "shutdownFailed";

/** External extensions are files under /opt/extensions; internal ones live in the runtime process. */
export type ExtensionKind = "external" | "internal";

type Table<S extends string, A extends string> = Readonly<Record<S, Partial<Readonly<Record<A, S>>>>>;

const RUNTIME: Table<RuntimeState, RuntimeAction> = {
  Started: { next: "Ready", initError: "InitError" },
  InitError: {},
  Ready: { next: "Ready", released: "Running" },
  // `next` while an event is being worked on hands out the same event again.
  Running: { next: "Running", response: "InvocationResponse", error: "InvocationErrorResponse" },
  InvocationResponse: { responseSent: "RuntimeResponseSentState" },
  InvocationErrorResponse: { responseSent: "RuntimeResponseSentState" },
  RuntimeResponseSentState: { next: "Ready" },
};

const EXTERNAL: Table<ExtensionState, ExtensionAction> = {
  Started: { register: "Registered", launchError: "LaunchError" },
  Registered: { next: "Ready", initError: "InitError", exitError: "ExitError" },
  Ready: { released: "Running", exitError: "ExitError" },
  Running: { next: "Ready", exitError: "ExitError", exited: "Exited", shutdownFailed: "ShutdownFailed" },
  InitError: { initError: "InitError" },
  ExitError: { exitError: "ExitError" },
  ShutdownFailed: {},
  Exited: {},
  LaunchError: {},
};

const INTERNAL: Table<ExtensionState, ExtensionAction> = {
  ...EXTERNAL,
  Started: { register: "Registered" },
  Running: { next: "Ready", exitError: "ExitError" },
};

/** The state after `action`, or `undefined` when it is not allowed in `state`. */
export function runtimeAfter(state: RuntimeState, action: RuntimeAction): RuntimeState | undefined {
  return RUNTIME[state][action];
}

/** The state after `action`, or `undefined` when it is not allowed in `state`. */
export function extensionAfter(
  kind: ExtensionKind,
  state: ExtensionState,
  action: ExtensionAction,
): ExtensionState | undefined {
  return (kind === "external" ? EXTERNAL : INTERNAL)[state][action];
}

const NOT_ALLOWED = "State transition is not allowed";

/** The state that a refusal names as the target; `error` and `response` are named after the state they would begin. */
const RUNTIME_TARGET: Readonly<Record<"next" | "initError" | "response" | "error", string>> = {
  next: "Ready",
  initError: "InitError",
  response: "InvocationResponse",
  error: "InvocationErrorResponse",
};

/** An `exit/error` refusal names `Exited`, not `ExitError` (internal/lambda/rapi/handler/agentexiterror.go). */
const EXTENSION_TARGET: Readonly<Record<"register" | "next" | "initError" | "exitError", string>> = {
  register: "Registered",
  next: "Ready",
  initError: "InitError",
  exitError: "Exited",
};

/** The message of a 403 for a runtime call that its state does not allow. */
export function runtimeRefusal(state: RuntimeState, action: keyof typeof RUNTIME_TARGET): string {
  return `State transition from ${state} to ${RUNTIME_TARGET[action]} failed for runtime. Error: ${NOT_ALLOWED}`;
}

/** The message of a 403 for an extension call; `who` is the name at `register`, the identifier afterwards. */
export function extensionRefusal(
  state: ExtensionState,
  action: keyof typeof EXTENSION_TARGET,
  who: string,
): string {
  return `State transition from ${state} to ${EXTENSION_TARGET[action]} failed for extension ${who}. Error: ${NOT_ALLOWED}`;
}
