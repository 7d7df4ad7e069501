/**
 * A subject that runs between the load generator and an origin, and what can be sent through it. Owns its life, and the check that the
 * origin itself gave each answer; what is measured in which order is in `exchange-course.ts`.
 */

import { setTimeout as sleep } from "node:timers/promises";
import type { RoutedSubject, Started } from "../peers/routed-subject.ts";
import { cpuUsOf, memoryOf } from "../proc.ts";
import type { LoadReport } from "./closed-loop.ts";
import type { HandshakeRun, LoadRun } from "./exchange.ts";
import type { Generator, Origin } from "./load.ts";
import type { RequestMessage } from "./messages.ts";

/** What the connections of a course look like. */
export interface Shape {
  readonly protocol: "http1" | "http2";
  /** Connections under load. */
  readonly connections: number;
  /** Requests in flight on each of them, and open exchanges on each connection that is held. */
  readonly streams: number;
}

/** Handshakes at the same time. */
const handshakesAtOnce = 8;
/** How long the origin may wait for requests that are on their way through a subject. */
const arrivalMaxMs = 20_000;
/** Time that a subject gets to settle before its memory is read. */
const settleMs = 500;

/** A subject that runs, until it is disposed of. */
export class Runner {
  readonly origin: Origin;
  readonly request: RequestMessage;
  readonly #subject: RoutedSubject;
  readonly #started: Started;
  readonly #shape: Shape;
  readonly #generator: Generator;
  readonly #body: string;

  /** `body` is what each answer carries. */
  constructor(
    subject: RoutedSubject,
    started: Started,
    shape: Shape,
    generator: Generator,
    origin: Origin,
    request: RequestMessage,
    body: string,
  ) {
    this.#subject = subject;
    this.#started = started;
    this.#shape = shape;
    this.#generator = generator;
    this.origin = origin;
    this.request = request;
    this.#body = body;
  }

  /** Undefined when nothing stands between the generator and the origin. */
  get pid(): number | undefined {
    return this.#started.server?.pid;
  }

  /** The subject's share of a count. */
  shareOf(count: number): number {
    return Math.ceil(count * this.#subject.share);
  }

  /** An error that names the subject and quotes the last it wrote. */
  failure(why: string): Error {
    const tail = this.#started.server?.stderrTail();
    return new Error(`${this.#subject.name}: ${why}${tail ? `; it wrote: ${tail}` : ""}`);
  }

  /** Sends requests through the subject over connections that stay open. */
  requests(connections: number, requests: number): Promise<LoadReport> {
    const streams = Math.min(this.#shape.streams, Math.ceil(requests / connections));
    return this.#run({ kind: "requests", ...this.#aim, connections, streams, requests }, requests);
  }

  /** Sends requests through the subject, each over a new connection. */
  handshakes(handshakes: number): Promise<LoadReport> {
    return this.#run(
      { kind: "handshakes", ...this.#aim, connections: handshakesAtOnce, handshakes },
      handshakes,
    );
  }

  /** A run, with the CPU time that the subject spent on it and that which the bench itself spent, in µs. */
  async accounted(
    run: () => Promise<LoadReport>,
  ): Promise<LoadReport & { cpuUs: number; benchCpuUs: number }> {
    const subjectUs = () => (this.pid === undefined ? 0 : cpuUsOf(this.pid));
    const benchUs = () => cpuUsOf(this.#generator.pid) + cpuUsOf(this.origin.pid);
    const before = { subject: subjectUs(), bench: benchUs() };
    const report = await run();
    return { ...report, cpuUs: subjectUs() - before.subject, benchCpuUs: benchUs() - before.bench };
  }

  /** Opens connections that stay, after one request each. */
  hold(connections: number): Promise<void> {
    return this.#failing(this.#generator.hold({ kind: "hold", ...this.#aim, connections }));
  }

  /**
   * Sends `exchanges` requests, or as many as fill the last connection, over connections that are held, to an origin that does not
   * answer. Returns how many they are, when all have reached it.
   */
  async leaveOpen(exchanges: number): Promise<number> {
    const { streams } = this.#shape;
    const connections = Math.ceil(exchanges / streams);
    await this.origin.hold(true);
    await this.#failing(this.#generator.ask(connections, streams));
    const giveUpAtMs = performance.now() + arrivalMaxMs;
    for (;;) {
      const { held } = await this.origin.report();
      if (held >= connections * streams) return held;
      if (performance.now() > giveUpAtMs) {
        throw this.failure(`of ${connections * streams} open exchanges ${held} reached the origin`);
      }
      await sleep(50);
    }
  }

  /** PSS in KiB once the subject has had time to settle. */
  async settledMemory(): Promise<number> {
    await sleep(settleMs);
    return memoryOf(this.pid!).pssKb;
  }

  /** Closes what is held, lets the origin answer again, and ends the subject. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#generator.release();
    await this.origin.hold(false);
    await this.#started.server?.stop();
  }

  get #aim() {
    const { protocol } = this.#shape;
    return { protocol, route: this.#started.route, request: this.request.text, body: this.#body };
  }

  /** Runs, and sees to it that the origin itself gave each answer. */
  async #run(run: LoadRun | HandshakeRun, requests: number): Promise<LoadReport> {
    await this.origin.report();
    const report = await this.#failing(this.#generator.run(run));
    const { answered } = await this.origin.report();
    if (answered === requests) return report;
    throw this.failure(`sent ${requests} requests, but the origin answered ${answered}`);
  }

  async #failing<T>(run: Promise<T>): Promise<T> {
    return run.catch((error: Error) => {
      throw this.failure(error.message);
    });
  }
}
