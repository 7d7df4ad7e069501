/**
 * Notices a call that has come back: through another proxy on this host or network, whose next hop is this one.
 *
 * A call to a near address carries this process's id in a field of its own, and a call that comes in with it is refused. Calls to
 * global addresses carry nothing: a stranger learns nothing, and they cost nothing. What was never marked is not looked for either.
 * Not seen are loops that take the field away, and those of tunnels, in which no field can be written; the limits on connections and
 * tunnels end them.
 */
import { randomBytes } from "node:crypto";
import type { FieldLines } from "../exchange.ts";
import { type AddressClass, classifyAddress } from "./address-class.ts";

/** The field's name. */
export const LOOP_FIELD = "Outrider-Instance";

/** Where another proxy may be that forwards to this one. */
const NEAR: ReadonlySet<AddressClass> = new Set(["loopback", "unspecified", "private", "cgnat"]);

/** See the file's header. */
export class LoopGuard {
  /** 32 hex digits; "" until a call was marked. Not drawn before, so that sandboxes restored from one snapshot differ. */
  #id = "";
  readonly #marks: boolean;

  /** @param marks whether calls are marked at all */
  constructor(marks = true) {
    this.#marks = marks;
  }

  /** The field lines for calls on a connection to `address`: the mark, or "". */
  markFor(address: string): FieldLines {
    if (!this.#marks || !NEAR.has(classifyAddress(address))) return "";
    if (this.#id === "") this.#id = randomBytes(16).toString("hex");
    return `${LOOP_FIELD}: ${this.#id}\r\n`;
  }

  /** Whether a request with these fields was sent by this process before. The id is looked for wherever it stands: other proxies join fields. */
  hasPassed(fields: FieldLines): boolean {
    return this.#id !== "" && fields.includes(this.#id);
  }
}
