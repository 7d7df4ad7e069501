/**
 * A tunnel that has been promised to the application and not been dialled yet: what the application says first tells whether its
 * bytes are HTTP, which is governed like any other, TLS that is opened, or something that passes unread. Decides when to stop
 * waiting; sends nothing.
 */
import { readClientHello } from "../capture/client-hello.ts";
import { spokenBy } from "../capture/first-bytes.ts";
import type { Target } from "../capture/target.ts";
import type { Clock, Timer } from "../clock.ts";
import type { RequestHead } from "../http1/request-head.ts";

/** Where plain HTTP is never spoken: a tunnel there is dialled before it is promised, so that a failure can be answered. */
const TLS_PORT = 443;
/** How long a tunnel that may pass unread waits for the application's first bytes before it is dialled. */
const SILENCE_MS = 3000;

/** Whether a tunnel to `target` may turn out to hold plain HTTP. */
export function mayBePlain({ port }: Target): boolean {
  return port !== TLS_PORT;
}

/**
 * What is to be done with a promised tunnel: `wait` for more, serve it as HTTP/1.1 (`http`), as HTTP/2 (`h2`) or as TLS for
 * `serverName` (`tls`), dial it (`dial`), or end it (`refuse`).
 */
export type Verdict =
  | { readonly kind: "wait" | "http" | "h2" | "dial" }
  | { readonly kind: "tls"; readonly serverName: string }
  | { readonly kind: "refuse"; readonly why: string };

/**
 * what the bytes that the application has sent so far make of its tunnel. Where the policy looks inside TLS (`opened`),
 * nothing passes unread: else whatever begins with a byte of its own choice would get past the policy.
 */
export function judgeTunnel(bytes: Buffer, opened: boolean): Verdict {
  const spoken = spokenBy(bytes);
  if (spoken === "unknown") return { kind: "wait" };
  if (spoken === "http" || spoken === "h2") return { kind: spoken };
  if (!opened) return { kind: "dial" };
  if (spoken === "other")
    return { kind: "refuse", why: "neither TLS nor HTTP in a tunnel that is intercepted" };
  const hello = readClientHello(bytes);
  switch (hello.kind) {
    case "partial":
      return { kind: "wait" };
    case "hello":
      return { kind: "tls", serverName: hello.serverName };
    case "not_tls":
      return { kind: "refuse", why: hello.why };
  }
}

/** See the file's header. `silent` is called when the application has said too little for too long. */
export class Opening {
  readonly head: RequestHead;
  readonly target: Target;
  /** The policy looks inside TLS here. */
  readonly opened: boolean;
  readonly #waitMs: number;
  readonly #clock: Clock;
  readonly #silent: () => void;
  #timer: Timer;

  /** @param handshakeTimeoutMs bound of the silence where the policy looks inside TLS */
  constructor(
    head: RequestHead,
    target: Target,
    opened: boolean,
    handshakeTimeoutMs: number,
    clock: Clock,
    silent: () => void,
  ) {
    this.head = head;
    this.target = target;
    this.opened = opened;
    this.#waitMs = opened ? handshakeTimeoutMs : SILENCE_MS;
    this.#clock = clock;
    this.#silent = silent;
    this.#timer = this.#wait();
  }

  /** `judgeTunnel` of all that the application has sent; once that is known, nothing is waited for any more. */
  judge(bytes: Buffer): Verdict {
    const verdict = judgeTunnel(bytes, this.opened);
    if (verdict.kind !== "wait") this.cancel();
    return verdict;
  }

  /** Nothing is waited for any more. */
  cancel(): void {
    this.#timer.cancel();
  }

  #wait(): Timer {
    const dueMs = this.#clock.now() + this.#waitMs;
    return this.#clock.after(this.#waitMs, () => {
      // Late means that the sandbox was frozen or starved: the application's bytes may be on their way all the same.
      if (this.#clock.now() - dueMs > this.#waitMs / 2) this.#timer = this.#wait();
      else this.#silent();
    });
  }
}
