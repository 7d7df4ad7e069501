/**
 * One origin, one load generator, and what is done with each subject between them: check it, then measure it.
 * Owns the procedure of one subject; which subjects, how often and in which order is the bench's.
 */

import type { ServerProcess } from "../peers/server-process.ts";
import type { Subject, Surroundings } from "../peers/subject.ts";
import { cpuUsOf, memoryOf } from "../proc.ts";
import type { MetricName } from "../report.ts";
import type { LoadReport } from "./generator.ts";
import { type Generator, type Origin, startGenerator, startOrigin } from "./load.ts";
import { buildRequest, buildResponse, type RequestMessage, targetPath } from "./messages.ts";

/** How many requests each step of a measurement sends. */
export interface Counts {
  /** Before anything is timed: the compiler of V8 must have seen the whole path. */
  readonly warmUp: number;
  /** Over `busyConnections`: CPU per request, requests per second, p99, and memory afterwards. */
  readonly busy: number;
  /** Over one connection: p50. */
  readonly single: number;
}

/** Connections of the warm-up and of the busy step, each with one request in flight. */
export const busyConnections = 64;

/** Enough to see that a connection and its upstream connection are used again. */
const checkConnections = 2;
const checkRequests = 64;

/** A course that subjects run one after the other. */
export class Course {
  readonly #folder: string;
  readonly #origin: Origin;
  readonly #generator: Generator;
  readonly #requests: Readonly<Record<Subject["form"], RequestMessage>>;
  readonly #body: string;

  private constructor(folder: string, origin: Origin, body: string, random: () => number) {
    this.#folder = folder;
    this.#origin = origin;
    this.#generator = startGenerator();
    this.#body = body;
    const authority = `127.0.0.1:${origin.port}`;
    this.#requests = {
      origin: buildRequest("origin", authority, random),
      absolute: buildRequest("absolute", authority, random),
    };
  }

  /** Starts the origin and the generator. `folder` takes configurations; `random` draws the payloads. */
  static async open(folder: string, random: () => number): Promise<Course> {
    const response = buildResponse(random);
    return new Course(folder, await startOrigin(response.text), response.body, random);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#generator[Symbol.asyncDispose]();
    await this.#origin[Symbol.asyncDispose]();
  }

  /** Throws an Error unless every answer is right and the request reached the origin as it was meant. */
  async check(subject: Subject): Promise<void> {
    await this.#withRunning(subject, async (port) => {
      await this.#send(subject, port, checkConnections, checkRequests);
      const { lastHead } = await this.#origin.report();
      const wanted = [
        `GET ${targetPath} HTTP/1.1\r\n`,
        `\r\nAuthorization: Bearer ${this.#requests[subject.form].secret}`,
        ...subject.addedHeaders.map((name) => `\r\n${name}: `),
      ];
      for (const part of wanted) {
        if (`${lastHead}\r\n`.toLowerCase().includes(part.toLowerCase())) continue;
        throw new Error(`expected ${JSON.stringify(part)} at the origin, got ${JSON.stringify(lastHead)}`);
      }
    });
  }

  /** One round of one subject, in a process that starts anew. CPU time and memory only where there is a process. */
  async measure(subject: Subject, counts: Counts): Promise<Partial<Record<MetricName, number>>> {
    return this.#withRunning(subject, async (port, server) => {
      await this.#send(subject, port, busyConnections, counts.warmUp);
      const cpuUsBefore = server ? cpuUsOf(server.pid) : 0;
      const busy = await this.#send(subject, port, busyConnections, counts.busy);
      const cpuUs = server ? cpuUsOf(server.pid) - cpuUsBefore : 0;
      const memory = server ? memoryOf(server.pid) : undefined;
      const single = await this.#send(subject, port, 1, counts.single);
      return {
        ...(server ? { cpu_us_per_request: cpuUs / counts.busy } : {}),
        requests_per_s: counts.busy / (busy.elapsedMs / 1000),
        p50_us: single.p50Us,
        p99_us: busy.p99Us,
        ...(memory ? { pss_kb: memory.pssKb, rss_kb: memory.rssKb } : {}),
      };
    });
  }

  /** Sends through the subject, and sees to it that the origin itself gave each answer. */
  async #send(subject: Subject, port: number, connections: number, requests: number): Promise<LoadReport> {
    await this.#origin.report();
    const request = this.#requests[subject.form].text;
    const report = await this.#generator.run({ port, request, body: this.#body, connections, requests });
    const { answered } = await this.#origin.report();
    if (answered !== requests)
      throw new Error(`sent ${requests} requests, but the origin answered ${answered}`);
    return report;
  }

  async #withRunning<T>(
    subject: Subject,
    use: (port: number, server: ServerProcess | undefined) => Promise<T>,
  ): Promise<T> {
    const surroundings: Surroundings = { folder: this.#folder, originPort: this.#origin.port };
    const server = await subject.start(surroundings);
    try {
      return await use(server?.port ?? this.#origin.port, server);
    } catch (error) {
      const tail = server?.stderrTail();
      throw new Error(`${subject.name}: ${(error as Error).message}${tail ? `; it wrote: ${tail}` : ""}`);
    } finally {
      await server?.stop();
    }
  }
}
