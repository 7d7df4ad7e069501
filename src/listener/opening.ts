/**
 * A tunnel that has been promised to the application and not been dialled yet: what the application says first tells whether its
 * bytes are HTTP, which is governed like any other, or something that passes unread. Decides when to stop waiting; sends nothing.
 */
import { type Spoken, spokenBy } from "../capture/first-bytes.ts";
import type { Target } from "../capture/target.ts";
import type { Clock, Timer } from "../clock.ts";
import type { RequestHead } from "../http1/request-head.ts";

/** Where plain HTTP is never spoken: a tunnel there is dialled before it is promised, so that a failure can be answered. */
const TLS_PORT = 443;
/** How long a tunnel elsewhere waits for the application's first bytes before it is dialled. */
const SILENCE_MS = 3000;

/** Whether a tunnel to `target` may turn out to hold plain HTTP. */
export function mayBePlain({ port }: Target): boolean {
  return port !== TLS_PORT;
}

/** See the file's header. `silent` is called when the application has said nothing for so long that the origin may have to begin. */
export class Opening {
  readonly head: RequestHead;
  readonly target: Target;
  readonly #clock: Clock;
  readonly #silent: () => void;
  #timer: Timer;

  constructor(head: RequestHead, target: Target, clock: Clock, silent: () => void) {
    this.head = head;
    this.target = target;
    this.#clock = clock;
    this.#silent = silent;
    this.#timer = this.#wait();
  }

  /** What the application speaks, by all that it has sent; once that is known, nothing is waited for any more. */
  judge(bytes: Buffer): Spoken {
    const spoken = spokenBy(bytes);
    if (spoken !== "unknown") this.cancel();
    return spoken;
  }

  /** Nothing is waited for any more. */
  cancel(): void {
    this.#timer.cancel();
  }

  #wait(): Timer {
    const dueMs = this.#clock.now() + SILENCE_MS;
    return this.#clock.after(SILENCE_MS, () => {
      // Late means that the sandbox was frozen or starved: the application's bytes may be on their way all the same.
      if (this.#clock.now() - dueMs > SILENCE_MS / 2) this.#timer = this.#wait();
      else this.#silent();
    });
  }
}
