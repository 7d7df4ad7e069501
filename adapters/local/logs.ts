/**
 * Lines that the processes and the platform write.
 *
 * Owns cutting a byte stream into lines and the tail of an invocation's log. Prints nothing.
 */
import { StringDecoder } from "node:string_decoder";

/** One line of log. */
export interface LogLine {
  /** `platform` for START, END, REPORT, INIT_REPORT and what the emulator itself has to say. */
  readonly source: "platform" | "function" | "extension";
  /** `runtime`, the name of the extension, or `platform`. */
  readonly process: string;
  readonly text: string;
}

/** Longest line in characters (one CloudWatch Logs event is at most 256 KB); a longer one is cut into several. */
const LINE_CHARS_MAX = 256 * 1024;

/** The tail that `X-Amz-Log-Type: Tail` returns, in bytes (Lambda API reference, Invoke). */
export const LOG_TAIL_BYTES_MAX = 4096;

/** Cuts chunks into lines. `write` takes what arrives, `end` hands out a last line that has no line feed. */
export class LineSplitter {
  readonly #decoder = new StringDecoder("utf8");
  readonly #onLine: (line: string) => void;
  #rest = "";

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  write(chunk: Buffer): void {
    const lines = (this.#rest + this.#decoder.write(chunk)).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#emit(line);
    while (this.#rest.length > LINE_CHARS_MAX) {
      this.#onLine(this.#rest.slice(0, LINE_CHARS_MAX));
      this.#rest = this.#rest.slice(LINE_CHARS_MAX);
    }
  }

  end(): void {
    this.#rest += this.#decoder.end();
    if (this.#rest !== "") this.#emit(this.#rest);
    this.#rest = "";
  }

  #emit(line: string): void {
    const text = line.endsWith("\r") ? line.slice(0, -1) : line;
    for (let at = 0; at === 0 || at < text.length; at += LINE_CHARS_MAX) {
      this.#onLine(text.slice(at, at + LINE_CHARS_MAX));
    }
  }
}

/** Keeps the last bytes of what is added, whole lines where they fit. */
export class LogTail {
  #text = "";

  /** Adds a line, without its line feed. */
  add(line: string): void {
    // Twice the limit, so that slicing is rare; `toString` cuts exactly.
    this.#text = `${this.#text}${line}\n`.slice(-2 * LOG_TAIL_BYTES_MAX);
  }

  /** The last `LOG_TAIL_BYTES_MAX` bytes, beginning at a character. */
  toString(): string {
    const bytes = Buffer.from(this.#text);
    let from = Math.max(0, bytes.length - LOG_TAIL_BYTES_MAX);
    while (from < bytes.length && (bytes[from]! & 0xc0) === 0x80) from++;
    return bytes.toString("utf8", from);
  }
}
