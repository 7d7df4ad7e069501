/**
 * Sends calls in HTTP/2: on a connection that has room, or on a new one. Sends once more, unasked and unbudgeted, what the upstream
 * is known not to have looked at, and what a connection from before lost by dying when that can do no harm. Loaded when first needed.
 */
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { EgressError } from "../errors.ts";
import type { AttemptFacts, EgressRequest, EgressResponse } from "../exchange.ts";
import type { ConnectionParts, Connections } from "./connections.ts";
import type { Http1Connections } from "./http1-connections.ts";
import { Http2Session } from "./http2-session.ts";
import { dialTarget, isRepeatable, poolKey, type Reach, type Spoken } from "./reach.ts";
import { SharedDial } from "./shared-dial.ts";

/** A connection without calls is kept for so long: HTTP/2 servers say when they close one, so that no race is lost (GOAWAY). */
const IDLE_MS_MAX = 60_000;
/** Upstreams known to speak HTTP/1.1 only. Overflow: the oldest is forgotten, and asked again. */
const HTTP1_ONLY_MAX = 1000;

const NEGOTIATED = ["h2", "http/1.1"];
const HTTP2_ONLY = ["h2"];

/** A call and where it goes. */
interface Call {
  /** Calls with the same share connections. */
  readonly key: string;
  readonly spoken: Exclude<Spoken, "http1">;
  readonly reach: Reach;
  readonly request: EgressRequest;
  readonly facts: AttemptFacts;
}

/** A call that has been sent. Not a promise of the answer: between being found and being used a session would lose its room to others. */
interface Begun {
  /** `null` for HTTP/1.1. */
  readonly from: Http2Session | null;
  readonly answer: Promise<EgressResponse>;
}

/** See the file's header. */
export class Http2Connections implements Connections {
  readonly #parts: ConnectionParts;
  readonly #http1: Http1Connections;
  readonly #sessions = new Set<Http2Session>();
  readonly #byKey = new Map<string, Http2Session[]>();
  readonly #dials = new Map<string, SharedDial>();
  /** So that their calls are dialled at the same time, and not one behind the other. */
  readonly #http1Only = new Set<string>();
  #made = 0;
  #destroyed = false;

  constructor(parts: ConnectionParts, http1: Http1Connections) {
    this.#parts = parts;
    this.#http1 = http1;
  }

  get open(): number {
    return this.#sessions.size;
  }

  get idle(): number {
    return this.#idle().length;
  }

  get bufferedBytes(): number {
    let bytes = 0;
    for (const session of this.#sessions) bytes += session.bufferedBytes();
    return bytes;
  }

  sweep(nowMs: number): void {
    for (const session of [...this.#sessions]) {
      if (session.streams === 0 && session.idleMs() >= IDLE_MS_MAX) session.destroy();
      else session.sweep(nowMs);
    }
  }

  /** What was idle is closed; what carries calls is asked whether it still is there. Upstreams may have learnt HTTP/2 meanwhile. */
  thawed(): void {
    this.#http1Only.clear();
    for (const session of [...this.#sessions]) {
      if (session.streams === 0) session.destroy();
      else session.ping();
    }
  }

  destroy(): void {
    this.#destroyed = true;
    for (const session of [...this.#sessions]) session.destroy();
  }

  /** Sends `request`; `negotiated` calls are spoken in HTTP/1.1 when the server's TLS has no HTTP/2. */
  async send(
    spoken: Exclude<Spoken, "http1">,
    reach: Reach,
    request: EgressRequest,
    facts: AttemptFacts,
  ): Promise<EgressResponse> {
    const call = { key: `${poolKey(reach, request)} ${spoken}`, spoken, reach, request, facts };
    if (this.#http1Only.has(call.key)) return this.#http1.send(reach, request, facts);
    const { from, answer } = await this.#begin(call, 0);
    if (from === null) return answer;
    return answer.catch((error: EgressError) => this.#sendAgain(call, from, error));
  }

  /** Sends once more what `from` lost, if that can do no harm; else throws `error`. */
  async #sendAgain(call: Call, from: Http2Session, error: EgressError): Promise<EgressResponse> {
    const { spoken, reach, request, facts } = call;
    const whole = request.body.whole !== null;
    const unwanted = error.code === "VERSION_REFUSED" && spoken === "negotiated" && whole;
    const refused = error.code === "STREAM_REFUSED" && whole;
    const died =
      error.code === "UPSTREAM_RESET" && error.reached !== "final" && facts.reused && isRepeatable(request);
    if ((!unwanted && !refused && !died) || this.#destroyed) throw error;
    facts.replayed = true;
    facts.error = null;
    if (unwanted) {
      // RFC 9113 §7, HTTP_1_1_REQUIRED: TLS agreed to HTTP/2, what is behind it does not.
      this.#rememberHttp1(call.key);
      return this.#http1.send(reach, request, facts);
    }
    const { answer } = await this.#begin(call, from.number);
    return answer;
  }

  /**
   * Sends on a session with room that was dialled after the one with the ordinal `after`; one is dialled where there is none. A server
   * that turns out to speak HTTP/1.1 only gets that, over the connection that asked when this call may have it.
   */
  async #begin(call: Call, after: number): Promise<Begun> {
    const { key, reach, request, facts } = call;
    for (let waited = false; ; waited = true) {
      const from = this.#byKey.get(key)?.find(({ number, hasRoom }) => number > after && hasRoom);
      if (from !== undefined) {
        facts.reused ||= !waited;
        return { from, answer: from.send(request, facts, reach.policy.idleTimeoutMs) };
      }
      if (request.cancelled.value !== undefined) {
        facts.error = request.cancelled.value;
        throw facts.error;
      }
      const socket = await this.#dialFor(call).join(request, facts);
      if (socket !== null) {
        return { from: null, answer: this.#http1.sendOver(socket, reach, request, facts) };
      }
      if (this.#http1Only.has(key)) return { from: null, answer: this.#http1.send(reach, request, facts) };
    }
  }

  /** The dial under way to where `call` goes, or a new one. */
  #dialFor(call: Call): SharedDial {
    const running = this.#dials.get(call.key);
    if (running !== undefined) return running;
    const dial = new SharedDial();
    this.#dials.set(call.key, dial);
    void this.#dial(dial, call).catch((error) => {
      this.#forgetDial(call.key, dial);
      dial.failed(error);
    });
    // Given up by all that waited: whoever comes next needs another.
    dial.cancelled.on(() => this.#forgetDial(call.key, dial));
    return dial;
  }

  async #dial(dial: SharedDial, { key, spoken, reach, request }: Call): Promise<void> {
    const target = dialTarget(reach, request, spoken === "http2" ? HTTP2_ONLY : NEGOTIATED);
    const socket = await this.#parts.dialler.dial(target, dial, dial.facts);
    this.#forgetDial(key, dial);
    if (socket.destroyed) throw new EgressError("CONNECT_FAILED", "closed at once");
    if (target.tls === null || (socket as TLSSocket).alpnProtocol === "h2") {
      this.#keep(key, socket);
      dial.connected(null);
    } else if (spoken === "negotiated") {
      this.#rememberHttp1(key);
      if (!dial.connected(socket)) socket.destroy();
    } else {
      socket.destroy();
      throw new EgressError("VERSION_REFUSED", "the server's TLS did not agree to h2");
    }
  }

  #forgetDial(key: string, dial: SharedDial): void {
    if (this.#dials.get(key) === dial) this.#dials.delete(key);
  }

  #keep(key: string, socket: Socket): void {
    const { limits, clock, markFor, opened } = this.#parts;
    this.#made += 1;
    const mark = markFor(socket.remoteAddress ?? "");
    const session = new Http2Session(key, this.#made, socket, mark, limits, clock, {
      idle: () => this.#closeOldestIdle(),
      leaving: (leaving) => this.#forget(leaving),
      gone: (gone) => {
        this.#forget(gone);
        this.#sessions.delete(gone);
      },
    });
    this.#sessions.add(session);
    const known = this.#byKey.get(key);
    if (known === undefined) this.#byKey.set(key, [session]);
    else known.push(session);
    opened();
  }

  #forget(session: Http2Session): void {
    const left = this.#byKey.get(session.key)?.filter((other) => other !== session) ?? [];
    if (left.length === 0) this.#byKey.delete(session.key);
    else this.#byKey.set(session.key, left);
  }

  #idle(): Http2Session[] {
    return [...this.#sessions].filter(({ streams }) => streams === 0);
  }

  #closeOldestIdle(): void {
    const idle = this.#idle();
    if (idle.length <= this.#parts.limits.idleUpstreamMax) return;
    idle.reduce((oldest, other) => (other.idleMs() > oldest.idleMs() ? other : oldest)).destroy();
  }

  #rememberHttp1(key: string): void {
    this.#http1Only.add(key);
    if (this.#http1Only.size > HTTP1_ONLY_MAX) this.#http1Only.delete(this.#http1Only.values().next().value!);
  }
}
