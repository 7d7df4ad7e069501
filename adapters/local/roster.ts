/**
 * Who takes part in one life of the sandbox: the runtime and its extensions, each with its state and its open long poll.
 *
 * Owns identifiers, registration, and the handing over of events. Decides legality by `states.ts` and answers by `answers.ts`.
 * Knows neither sockets (a long poll is a function) nor processes nor time. Source: the runtime interface emulator,
 * internal/lambda/core/registrations.go and rapi/handler/.
 */
import { randomUUID } from "node:crypto";
import { type Answer, forbidden, invalidStateTransition } from "./answers.ts";
import {
  type ExtensionKind,
  type ExtensionState,
  extensionAfter,
  extensionRefusal,
  type RuntimeAction,
  type RuntimeState,
  runtimeAfter,
  runtimeRefusal,
} from "./states.ts";

/** External and internal extensions together (Lambda quotas). */
export const EXTENSIONS_MAX = 10;

/** The two lifecycle events. */
export type LifecycleEvent = "INVOKE" | "SHUTDOWN";

/** An open long poll: takes the answer, once. */
export type Poll = (answer: Answer) => void;

/** An extension as the platform sees it. */
export interface Extension {
  readonly name: string;
  readonly id: string;
  readonly kind: ExtensionKind;
  state: ExtensionState;
  events: ReadonlySet<LifecycleEvent>;
  /** Reported by the extension, or `PermissionDenied`, `TooManyExtensions`, `UnknownError` for a failed launch. */
  errorType: string | undefined;
  poll: Poll | undefined;
  /** An event that came before the extension asked for one. */
  waiting: Answer | undefined;
}

/** The runtime as the platform sees it. */
interface Runtime {
  state: RuntimeState;
  polls: Poll[];
  /** The event in progress, handed out again to a runtime that asks twice. */
  event: Answer | undefined;
  /** An event that came while no long poll was open. */
  waiting: Answer | undefined;
}

/** See the file's header. */
export class Roster {
  readonly runtime: Runtime = { state: "Started", polls: [], event: undefined, waiting: undefined };
  /** Internal extensions may register until the runtime's first `next`. */
  registrationOpen = true;
  /** Telemetry subscriptions are accepted until the end of init. */
  telemetryOpen = true;
  readonly #extensions = new Map<string, Extension>();
  readonly #onChange: () => void;

  /** `onChange` is called after every change of a state. */
  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  /** All extensions, external ones first, in the order they became known. */
  extensions(kind?: ExtensionKind): Extension[] {
    const all = [...this.#extensions.values()];
    return kind === undefined ? all : all.filter((extension) => extension.kind === kind);
  }

  /** The extension with that identifier (canonical form), of either kind. */
  byId(id: string): Extension | undefined {
    return this.#extensions.get(id);
  }

  /** Makes an external extension known before its process starts. */
  expect(name: string): Extension {
    return this.#add(name, "external");
  }

  /** `POST /extension/register` after its form was checked. Returns the extension, or the refusal. */
  register(name: string, events: readonly string[]): Extension | Answer {
    const external = this.extensions("external").find((extension) => extension.name === name);
    const kind = external ? "external" : "internal";
    const bad = events.find((event) => event !== "INVOKE" && (event !== "SHUTDOWN" || kind === "internal"));
    if (bad !== undefined) {
      const why =
        bad === "SHUTDOWN" ? "ShutdownEventNotSupportedForInternalExtension" : "ErrorInvalidEventType";
      return forbidden("Extension.InvalidEventType", `${bad}: ${why}`);
    }
    const extension = external ?? this.#admitInternal(name);
    if (!("state" in extension)) return extension;
    const { state } = extension;
    if (!this.advance(extension, "register"))
      return forbidden("Extension.InvalidExtensionState", extensionRefusal(state, "register", name));
    extension.events = new Set(events as LifecycleEvent[]);
    return extension;
  }

  /** `GET /extension/event/next`: opens a long poll, or returns the refusal. */
  extensionNext(extension: Extension, poll: Poll): Answer | undefined {
    const { state } = extension;
    if (!this.advance(extension, "next"))
      return forbidden("Extension.InvalidExtensionState", extensionRefusal(state, "next", extension.id));
    extension.poll = poll;
    if (extension.waiting !== undefined) this.#hand(extension, extension.waiting);
    return undefined;
  }

  /** `POST /extension/init/error` and `/exit/error`. Returns the refusal, if any. */
  extensionError(
    extension: Extension,
    action: "initError" | "exitError",
    errorType: string,
  ): Answer | undefined {
    const { state } = extension;
    if (!this.advance(extension, action))
      return forbidden("Extension.InvalidExtensionState", extensionRefusal(state, action, extension.id));
    extension.errorType ??= errorType;
    return undefined;
  }

  /**
   * Hands `event` to an extension that waits, or keeps it for its next long poll. An event for an extension whose poll was
   * cut is lost, as on the platform: it was told "Ready" and is not listening.
   */
  release(extension: Extension, event: Answer): void {
    if (extension.state === "Ready") this.#hand(extension, event);
    else extension.waiting = event;
  }

  /** `GET /runtime/invocation/next`: opens a long poll, answers the event in progress again, or returns the refusal. */
  runtimeNext(poll: Poll): Answer | undefined {
    const { runtime } = this;
    const { state } = runtime;
    if (!this.advanceRuntime("next")) return invalidStateTransition(runtimeRefusal(state, "next"));
    if (state === "Running") poll(runtime.event!);
    else {
      runtime.polls.push(poll);
      if (runtime.waiting !== undefined) this.releaseRuntime(runtime.waiting);
    }
    return undefined;
  }

  /** Hands an invocation to the runtime, or keeps it for its next long poll. */
  releaseRuntime(event: Answer): void {
    const { runtime } = this;
    const poll = runtime.polls.shift();
    runtime.event = event;
    runtime.waiting = poll === undefined ? event : undefined;
    if (poll === undefined) return;
    this.advanceRuntime("released");
    poll(event);
  }

  /** Forgets a long poll whose connection is gone. */
  forgetPoll(poll: Poll): void {
    this.runtime.polls = this.runtime.polls.filter((other) => other !== poll);
    for (const extension of this.extensions()) if (extension.poll === poll) extension.poll = undefined;
  }

  /** Moves the runtime on. Returns whether that was allowed. */
  advanceRuntime(action: RuntimeAction): boolean {
    const state = runtimeAfter(this.runtime.state, action);
    if (state === undefined) return false;
    this.runtime.state = state;
    this.#onChange();
    return true;
  }

  /** Moves an extension on. Returns whether that was allowed. */
  advance(extension: Extension, action: Parameters<typeof extensionAfter>[2]): boolean {
    const state = extensionAfter(extension.kind, extension.state, action);
    if (state === undefined) return false;
    extension.state = state;
    this.#onChange();
    return true;
  }

  #hand(extension: Extension, event: Answer): void {
    const { poll } = extension;
    extension.poll = undefined;
    extension.waiting = undefined;
    this.advance(extension, "released");
    poll?.(event);
  }

  #admitInternal(name: string): Extension | Answer {
    if (!this.registrationOpen)
      return forbidden("Extension.RegistrationClosed", "Extension registration closed already");
    if (this.#extensions.size >= EXTENSIONS_MAX)
      return forbidden("Extension.TooManyExtensions", `Extension limit (${EXTENSIONS_MAX}) reached`);
    if (this.extensions("internal").some((extension) => extension.name === name))
      return forbidden("Extension.InvalidExtensionState", "Extension with this name already registered");
    return this.#add(name, "internal");
  }

  #add(name: string, kind: ExtensionKind): Extension {
    const extension: Extension = {
      name,
      id: randomUUID(),
      kind,
      state: "Started",
      events: new Set(),
      errorType: undefined,
      poll: undefined,
      waiting: undefined,
    };
    this.#extensions.set(extension.id, extension);
    return extension;
  }
}
