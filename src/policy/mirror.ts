/**
 * Sends a copy of a part of the calls to a second upstream, compares its answers with the real ones, and drops them.
 *
 * Owns the copy's life, which is inside that of the call that it is a copy of: it is sent behind it, cancelled with it, and when the
 * call is over there is nothing left, since a sandbox that is frozen then would keep it. The call never waits for it, and no failure
 * of it reaches the call. Which calls are copied and what of them is mirror-copy.ts, the comparison mirror-shape.ts.
 */
import type { Clock } from "../clock.ts";
import type { MirrorOptions } from "../config/types.ts";
import { type EgressRequest, EgressResponse, type Policy, type Send, type TrailEntry } from "../exchange.ts";
import { superseded } from "./discard.ts";
import { isDrawn, isMirrorable, mirrorCopy } from "./mirror-copy.ts";
import { Reading, readAndDrop, readBeside } from "./mirror-reading.ts";
import { type Answer, sameShape } from "./mirror-shape.ts";
import { workTraceReader } from "./split-choice.ts";

/** What this stage is given besides its options and the clock. */
export interface MirrorSurroundings {
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** The running invocation's trace as the platform gave it, "" for none. */
  readonly workTrace: () => string;
}

/**
 * The entry of the trail while it is filled in. It is there from the copy's beginning, because the trail is read when the call is over:
 * `primaryStatus` 0 says that the copy was not done by then, `status` 0 alone that it failed.
 */
type MirrorFacts = { -readonly [K in keyof MirrorEntry]: MirrorEntry[K] };
type MirrorEntry = Extract<TrailEntry, { kind: "mirror" }>;

/** The stage. */
export function mirror(options: MirrorOptions, clock: Clock, surroundings: MirrorSurroundings): Policy {
  const { random } = surroundings;
  const workTraceId = workTraceReader(surroundings.workTrace);
  let running = 0;
  return (next) => (request) => {
    const drawn =
      running < options.concurrencyMax &&
      isDrawn(request, workTraceId(), options.percent, random) &&
      isMirrorable(request, options);
    if (!drawn) return next(request);
    running += 1;
    const call = new MirroredCall(request, options, clock, () => {
      running -= 1;
    });
    return call.send(next);
  };
}

/** What is known of an answer when its head is here; status 0 for an error in place of one. */
interface Head {
  readonly status: number;
  readonly latencyMs: number;
}

/** One call and its copy. */
class MirroredCall {
  readonly #request: EgressRequest;
  readonly #options: MirrorOptions;
  readonly #clock: Clock;
  readonly #over: () => void;
  readonly #facts: MirrorFacts;
  /** `null` before it is sent. */
  #copy: EgressRequest | null = null;
  #requestReading: Reading | null = null;
  #primaryHead: Head | null = null;
  #primaryReading: Reading | null = null;
  #primary: Answer | null = null;
  #mirrorHead: Head | null = null;
  #mirror: Answer | null = null;
  #ended = false;

  /** @param over called once, when nothing of the copy is left */
  constructor(request: EgressRequest, options: MirrorOptions, clock: Clock, over: () => void) {
    this.#request = request;
    this.#options = options;
    this.#clock = clock;
    this.#over = over;
    this.#facts = {
      kind: "mirror",
      host: options.host,
      status: 0,
      primaryStatus: 0,
      sameShape: false,
      latencyMs: 0,
      primaryLatencyMs: 0,
    };
    request.cancelled.on(this.#end);
    request.settled.on(this.#end);
  }

  /** Sends the call as it is, and behind it the copy, as soon as the whole body is here. */
  send(next: Send): Promise<EgressResponse> {
    const startedMs = this.#clock.now();
    const { body } = this.#request;
    if (body.whole !== null) {
      const sent = next(this.#request);
      void this.#sendCopy(next, body.whole);
      return this.#awaited(sent, startedMs);
    }
    this.#requestReading = new Reading(body, this.#options.bodyBytesMax, (_, text) => {
      if (text === null) this.#end();
      else void this.#sendCopy(next, text);
    });
    const sent = next(this.#request.with({ body: readBeside(body, this.#requestReading) }));
    return this.#awaited(sent, startedMs);
  }

  #awaited(sent: Promise<EgressResponse>, startedMs: number): Promise<EgressResponse> {
    return sent.then(
      (response) => this.#answered(response, startedMs),
      (error) => {
        this.#end();
        throw error;
      },
    );
  }

  /** Never rejects. */
  async #sendCopy(next: Send, body: string): Promise<void> {
    if (this.#ended) return;
    const startedMs = this.#clock.now();
    const failed = () => {
      this.#mirrorHead = this.#headOf(0, startedMs);
      this.#compare();
    };
    try {
      this.#copy = mirrorCopy(this.#request, this.#options, body);
      this.#request.trail.push(this.#facts);
      const response = await next(this.#copy);
      this.#mirrorHead = this.#headOf(response.status, startedMs);
      const reading = this.#readingOf(response, (answer) => {
        this.#mirror = answer;
      });
      readAndDrop(response.body, reading, superseded("a mirror's answer is longer than is compared"), failed);
    } catch {
      failed();
    }
  }

  /** The call is answered. What goes to the application is the same, looked at on its way. */
  #answered(response: EgressResponse, startedMs: number): EgressResponse {
    if (this.#ended) return response;
    this.#primaryHead = this.#headOf(response.status, startedMs);
    this.#compare();
    if (this.#ended) return response;
    this.#primaryReading = this.#readingOf(response, (answer) => {
      this.#primary = answer;
    });
    const body = readBeside(response.body, this.#primaryReading);
    if (body === response.body) return response;
    const { status, reason, fields, tunnel } = response;
    return new EgressResponse(status, reason, fields, body, tunnel);
  }

  #headOf(status: number, startedMs: number): Head {
    return { status, latencyMs: this.#clock.now() - startedMs };
  }

  #readingOf({ fields, body }: EgressResponse, read: (answer: Answer) => void): Reading {
    return new Reading(body, this.#options.bodyBytesMax, (bytes, text) => {
      read({ fields, bytes, text });
      this.#compare();
    });
  }

  /** Notes the comparison as soon as there is all that it needs. */
  #compare(): void {
    const [primary, mirror] = [this.#primaryHead, this.#mirrorHead];
    if (this.#ended || primary === null || mirror === null) return;
    if (mirror.status !== 0) {
      if (this.#primary === null || this.#mirror === null) return;
      this.#facts.sameShape = sameShape(this.#primary, this.#mirror);
    }
    this.#facts.status = mirror.status;
    this.#facts.latencyMs = mirror.latencyMs;
    this.#facts.primaryStatus = primary.status;
    this.#facts.primaryLatencyMs = primary.latencyMs;
    this.#end();
  }

  /** Compared, or not wanted any more: the call is over, this attempt of it failed, or its body is too long. */
  readonly #end = (): void => {
    if (this.#ended) return;
    this.#ended = true;
    this.#requestReading?.stop();
    this.#primaryReading?.stop();
    if (this.#copy !== null) {
      const reason = superseded("the call that it mirrors is over");
      this.#copy.cancelled.fire(reason);
      this.#copy.settled.fire({ error: reason });
    }
    this.#over();
  };
}
