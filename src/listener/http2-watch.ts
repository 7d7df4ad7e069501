/**
 * Notices a header block that is never completed. While one is open nothing but its CONTINUATION frames may come (RFC 9113
 * §6.10), and `node:http2` says nothing of it; so a PING is sent now and then to a session on which bytes arrive, and one that
 * stays unanswered although bytes keep coming tells. Silence alone tells nothing: an application may be busy.
 */
import type { ServerHttp2Session } from "node:http2";

/** In how many looks bytes must have come since the PING: one or two may have been on their way. */
const LOOKS_WITH_BYTES = 3;

/** See the file's header. One per session. */
export class HeaderBlockWatch {
  readonly #session: Pick<ServerHttp2Session, "ping">;
  readonly #timeoutMs: number;
  #bytesRead = 0;
  /** The PING that is out; `null` for none. */
  #ping: { readonly sentMs: number; looks: number } | null = null;
  #lastMs = Number.NEGATIVE_INFINITY;

  constructor(session: Pick<ServerHttp2Session, "ping">, timeoutMs: number) {
    this.#session = session;
    this.#timeoutMs = timeoutMs;
  }

  /** Asked every second or so: whether a header block has been open for longer than the timeout. */
  stuck(bytesRead: number, nowMs: number): boolean {
    const moved = bytesRead !== this.#bytesRead;
    this.#bytesRead = bytesRead;
    if (!moved) return false;
    if (this.#ping === null) {
      this.#send(nowMs);
      return false;
    }
    this.#ping.looks += 1;
    return this.#ping.looks >= LOOKS_WITH_BYTES && nowMs - this.#ping.sentMs >= this.#timeoutMs;
  }

  #send(nowMs: number): void {
    if (nowMs - this.#lastMs < this.#timeoutMs) return;
    this.#lastMs = nowMs;
    const ping = { sentMs: nowMs, looks: 0 };
    this.#ping = ping;
    const sent = this.#session.ping(() => void (this.#ping = null));
    if (!sent) this.#ping = null;
  }
}
