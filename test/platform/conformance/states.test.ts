/** Every legal and illegal edge of the three state machines, after the emulator's core state tests. */
import { describe, expect, test } from "vitest";
import {
  type ExtensionAction,
  type ExtensionState,
  extensionAfter,
  extensionRefusal,
  type RuntimeAction,
  type RuntimeState,
  runtimeAfter,
  runtimeRefusal,
} from "../../../adapters/local/states.ts";

const RUNTIME_STATES: RuntimeState[] = [
  "Started",
  "InitError",
  "Ready",
  "Running",
  "InvocationResponse",
  "InvocationErrorResponse",
  "RuntimeResponseSentState",
];
const RUNTIME_ACTIONS: RuntimeAction[] = [
  "next",
  "released",
  "initError",
  "response",
  "error",
  "responseSent",
];

describe("the runtime", () => {
  const legal: [RuntimeState, RuntimeAction, RuntimeState][] = [
    ["Started", "next", "Ready"],
    ["Started", "initError", "InitError"],
    ["Ready", "next", "Ready"],
    ["Ready", "released", "Running"],
    ["Running", "next", "Running"],
    ["Running", "response", "InvocationResponse"],
    ["Running", "error", "InvocationErrorResponse"],
    ["InvocationResponse", "responseSent", "RuntimeResponseSentState"],
    ["InvocationErrorResponse", "responseSent", "RuntimeResponseSentState"],
    ["RuntimeResponseSentState", "next", "Ready"],
  ];

  test.each(legal)("goes from %s by %s to %s", (from, action, to) => {
    expect(runtimeAfter(from, action)).toBe(to);
  });

  const illegal = RUNTIME_STATES.flatMap((from) =>
    RUNTIME_ACTIONS.filter((action) => !legal.some(([state, by]) => state === from && by === action)).map(
      (action) => [from, action] as const,
    ),
  );

  test.each(illegal)("may not go from %s by %s", (from, action) => {
    expect(runtimeAfter(from, action)).toBeUndefined();
  });
});

const EXTENSION_STATES: ExtensionState[] = [
  "Started",
  "Registered",
  "Ready",
  "Running",
  "InitError",
  "ExitError",
  "ShutdownFailed",
  "Exited",
  "LaunchError",
];
const EXTENSION_ACTIONS: ExtensionAction[] = [
  "register",
  "next",
  "released",
  "initError",
  "exitError",
  "launchError",
  "exited",
  "shutdownFailed",
];

const SHARED: [ExtensionState, ExtensionAction, ExtensionState][] = [
  ["Started", "register", "Registered"],
  ["Registered", "next", "Ready"],
  ["Registered", "initError", "InitError"],
  ["Registered", "exitError", "ExitError"],
  ["Ready", "released", "Running"],
  ["Ready", "exitError", "ExitError"],
  ["Running", "next", "Ready"],
  ["Running", "exitError", "ExitError"],
  ["InitError", "initError", "InitError"],
  ["ExitError", "exitError", "ExitError"],
];
const EXTERNAL_ONLY: [ExtensionState, ExtensionAction, ExtensionState][] = [
  ["Started", "launchError", "LaunchError"],
  ["Running", "exited", "Exited"],
  ["Running", "shutdownFailed", "ShutdownFailed"],
];

describe.each([
  { kind: "external" as const, legal: [...SHARED, ...EXTERNAL_ONLY] },
  { kind: "internal" as const, legal: SHARED },
])("an $kind extension", ({ kind, legal }) => {
  test.each(legal)("goes from %s by %s to %s", (from, action, to) => {
    expect(extensionAfter(kind, from, action)).toBe(to);
  });

  const illegal = EXTENSION_STATES.flatMap((from) =>
    EXTENSION_ACTIONS.filter((action) => !legal.some(([state, by]) => state === from && by === action)).map(
      (action) => [from, action] as const,
    ),
  );

  test.each(illegal)("may not go from %s by %s", (from, action) => {
    expect(extensionAfter(kind, from, action)).toBeUndefined();
  });
});

test("a refusal names the states as the platform prints them", () => {
  expect(runtimeRefusal("RuntimeResponseSentState", "response")).toBe(
    "State transition from RuntimeResponseSentState to InvocationResponse failed for runtime. Error: State transition is not allowed",
  );
  expect(extensionRefusal("Registered", "register", "E")).toBe(
    "State transition from Registered to Registered failed for extension E. Error: State transition is not allowed",
  );
  expect(extensionRefusal("Started", "exitError", "E")).toContain("from Started to Exited failed");
});
