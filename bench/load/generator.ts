/**
 * The load generator, a process of its own: a closed loop over a fixed number of kept-alive connections, each with
 * one request in flight. It checks the status, the length and the body of every answer, and a single wrong one fails
 * the run. The parent starts it with `startGenerator` of `load.ts` and speaks over IPC.
 */

import { connect, type Socket } from "node:net";
import { percentile } from "../measure.ts";
import { AnswerReader } from "./answer.ts";

/** One run: what to send, what must come back, and how often. */
export interface LoadRun {
  /** Port on 127.0.0.1 of the subject. */
  readonly port: number;
  readonly request: string;
  /** The body that each answer must carry. */
  readonly body: string;
  readonly connections: number;
  /** Requests in the whole run, at least one for each connection. */
  readonly requests: number;
}

/** What a run measured. Latency is from the write of a request to the last byte of its answer. */
export interface LoadReport {
  readonly elapsedMs: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

/** The answer to a run: its report, or why it failed. */
export type LoadAnswer = { readonly report: LoadReport } | { readonly failure: string };

/** A run in which no answer arrives for so long fails instead of hanging. */
const silenceMaxMs = 20_000;

process.on("message", (run: LoadRun) => {
  new ClosedLoop(run).finished.then(
    (report) => process.send!({ report } satisfies LoadAnswer),
    (error: Error) => process.send!({ failure: error.message } satisfies LoadAnswer),
  );
});
process.on("disconnect", () => process.exit(0));

/** A connection of the loop: its socket, and how it sends the next request if any is left. */
interface Connection {
  readonly socket: Socket;
  readonly sendNext: () => void;
}

class ClosedLoop {
  readonly finished: Promise<LoadReport>;
  readonly #run: LoadRun;
  readonly #request: Buffer;
  readonly #latenciesMs: Float64Array;
  readonly #connections: Connection[] = [];
  readonly #watchdog: NodeJS.Timeout;
  #connected = 0;
  #sent = 0;
  #answered = 0;
  #answeredAtLastLook = 0;
  #startedMs = 0;
  #resolve!: (report: LoadReport) => void;
  #reject!: (error: Error) => void;

  constructor(run: LoadRun) {
    this.#run = run;
    this.#request = Buffer.from(run.request, "latin1");
    this.#latenciesMs = new Float64Array(run.requests);
    this.finished = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#watchdog = setInterval(() => this.#failIfSilent(), silenceMaxMs);
    for (let i = 0; i < run.connections; i++) this.#connections.push(this.#open());
  }

  #open(): Connection {
    const reader = new AnswerReader(this.#run.body);
    let sentMs = 0;
    const sendNext = (): void => {
      if (this.#sent === this.#run.requests) return;
      this.#sent++;
      sentMs = performance.now();
      socket.write(this.#request);
    };
    const onBytes = (length: number, buffer: Uint8Array): boolean => {
      const progress = reader.read(buffer as Buffer, length);
      if (progress === "complete") {
        this.#latenciesMs[this.#answered++] = performance.now() - sentMs;
        if (this.#answered === this.#run.requests) this.#succeed();
        else sendNext();
      } else if (progress !== "partial") {
        this.#fail(progress.wrong);
      }
      return true;
    };
    const socket = connect({
      host: "127.0.0.1",
      port: this.#run.port,
      noDelay: true,
      onread: { buffer: Buffer.allocUnsafe(16 * 1024), callback: onBytes },
    });
    socket.on("connect", () => this.#startWhenAllConnected());
    socket.on("error", (error) => this.#fail(`connection failed: ${error.message}`));
    socket.on("close", () => this.#fail("a kept-alive connection was closed before the end of the run"));
    return { socket, sendNext };
  }

  #startWhenAllConnected(): void {
    if (++this.#connected < this.#run.connections) return;
    this.#startedMs = performance.now();
    for (const connection of this.#connections) connection.sendNext();
  }

  #failIfSilent(): void {
    if (this.#answered === this.#answeredAtLastLook) this.#fail(`no answer for ${silenceMaxMs / 1000} s`);
    this.#answeredAtLastLook = this.#answered;
  }

  #succeed(): void {
    const elapsedMs = performance.now() - this.#startedMs;
    const sorted = this.#latenciesMs.sort();
    const p50Us = percentile(sorted, 50) * 1000;
    const p99Us = percentile(sorted, 99) * 1000;
    this.#resolve({ elapsedMs, p50Us, p99Us });
    this.#close();
  }

  /** Changes nothing once the run has ended: closing our own sockets comes here as well. */
  #fail(why: string): void {
    this.#reject(new Error(`${why} (after ${this.#answered} right answers of ${this.#run.requests})`));
    this.#close();
  }

  #close(): void {
    clearInterval(this.#watchdog);
    for (const { socket } of this.#connections) socket.destroy();
  }
}
