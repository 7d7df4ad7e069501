/**
 * Checks one answer after another on a connection of the load generator: status, length and body.
 * Pure: it reads bytes that it is given. It knows Content-Length framing only, because the origin sends nothing else
 * and a subject that re-frames its answer puts other bytes on the wire than the rest.
 */

/** Where a connection stands after some bytes; `wrong` says what differs from the expected answer. */
export type Progress = "partial" | "complete" | { readonly wrong: string };

/** More bytes than this without a complete answer are a wrong answer: the expected one has 700. */
const answerBytesMax = 16 * 1024;

const nothing = Buffer.alloc(0);

/** Reads the answers of one connection that has at most one request in flight. */
export class AnswerReader {
  readonly #body: Buffer;
  #pending: Buffer = nothing;

  /** `body` is what each answer must carry, as latin1 text. */
  constructor(body: string) {
    this.#body = Buffer.from(body, "latin1");
  }

  /** Takes the first `length` bytes of `bytes`, which the caller may reuse afterwards. */
  read(bytes: Buffer, length: number): Progress {
    const fresh = bytes.subarray(0, length);
    const answer = this.#pending.length === 0 ? fresh : Buffer.concat([this.#pending, fresh]);
    const progress = this.#judge(answer);
    if (progress === "complete") this.#pending = nothing;
    else if (progress === "partial") this.#pending = Buffer.from(answer);
    return progress;
  }

  #judge(answer: Buffer): Progress {
    const headBytes = answer.indexOf("\r\n\r\n", 0, "latin1") + 4;
    if (headBytes < 4) {
      return answer.length > answerBytesMax ? { wrong: "the head of an answer does not end" } : "partial";
    }
    const head = answer.toString("latin1", 0, headBytes);
    if (!head.startsWith("HTTP/1.1 200 ")) return { wrong: `expected status 200, got ${quoted(head)}` };
    const length = Number(/\r\ncontent-length: *(\d+)\r\n/i.exec(head)?.[1]);
    if (length !== this.#body.length) {
      return { wrong: `expected Content-Length: ${this.#body.length}, got ${quoted(head)}` };
    }
    const surplus = answer.length - headBytes - length;
    if (surplus < 0) return "partial";
    if (surplus > 0) return { wrong: `${surplus} bytes arrived after the end of an answer` };
    if (answer.compare(this.#body, 0, length, headBytes) !== 0)
      return { wrong: "the body of an answer differs" };
    return "complete";
  }
}

function quoted(head: string): string {
  return JSON.stringify(head.slice(0, 400));
}
