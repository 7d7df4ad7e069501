/**
 * One origin, one load generator, and what is done with each subject between them: check it, then measure it.
 * Owns the procedure of one subject; which subjects, how often and in which order is the bench's.
 */

import type { ServerProcess } from "../peers/server-process.ts";
import type { Subject, Surroundings } from "../peers/subject.ts";
import { cpuUsOf, memoryOf } from "../proc.ts";
import type { MetricName } from "../report.ts";
import { shuffled } from "../seed.ts";
import type { LoadReport } from "./closed-loop.ts";
import type { LoadRun } from "./exchange.ts";
import { type Generator, type Origin, startGenerator, startOrigin } from "./load.ts";
import { buildRequest, buildResponse, missingFrom, type RequestMessage } from "./messages.ts";

/** How many requests each step of a measurement sends. */
export interface Counts {
  /** To each process before it is timed: the compiler of V8 must have seen the whole path. */
  readonly warmUp: number;
  /** Over `busyConnections`: CPU per request, requests per second, p99, and memory afterwards. */
  readonly busy: number;
  /** Over one connection, in each turn of a subject: p50. */
  readonly single: number;
  /** How often the subjects take turns over one connection in a round. */
  readonly turns: number;
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
    return new Course(
      folder,
      await startOrigin({ response: response.text, protocol: "http1" }),
      response.body,
      random,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#generator[Symbol.asyncDispose]();
    await this.#origin[Symbol.asyncDispose]();
  }

  /** Throws an Error unless every answer is right and the request reached the origin as it was meant. */
  async check(subject: Subject): Promise<void> {
    await using runner = await this.#start(subject);
    await this.#send(runner, checkConnections, checkRequests);
    const { lastHead } = await this.#origin.report();
    const missing = missingFrom(lastHead, this.#requests[subject.form].secret, subject.addedHeaders);
    if (missing === undefined) return;
    throw runner.failure(
      `expected ${JSON.stringify(missing)} at the origin, got ${JSON.stringify(lastHead)}`,
    );
  }

  /** One round of one subject under load, in a process that starts anew. CPU time and memory only where there is one. */
  async underLoad(subject: Subject, counts: Counts): Promise<Partial<Record<MetricName, number>>> {
    await using runner = await this.#start(subject);
    const { server } = runner;
    await this.#send(runner, busyConnections, counts.warmUp);
    const cpuUsBefore = server ? cpuUsOf(server.pid) : 0;
    const { elapsedMs, p99Us } = await this.#send(runner, busyConnections, counts.busy);
    const throughput = { requests_per_s: counts.busy / (elapsedMs / 1000), p99_us: p99Us };
    if (!server) return throughput;
    const cpuUs = cpuUsOf(server.pid) - cpuUsBefore;
    const { pssKb, rssKb } = memoryOf(server.pid);
    return { cpu_us_per_request: cpuUs / counts.busy, ...throughput, pss_kb: pssKb, rss_kb: rssKb };
  }

  /**
   * The p50 in µs of each subject over one connection, once for each turn. Whether a machine's cores sleep between two packets changes
   * the latency threefold, and what else runs there decides it, so only neighbours in time compare.
   */
  inTurns(
    subjects: readonly Subject[],
    counts: Counts,
    random: () => number,
  ): Promise<ReadonlyMap<Subject, number>[]> {
    return this.#turns(subjects, counts, random, async (runner) => {
      return (await this.#send(runner, 1, counts.single)).p50Us;
    });
  }

  /** The CPU time in µs that each subject, which must be a process, takes for a request over `busyConnections`, once for each turn. */
  cpuInTurns(
    subjects: readonly Subject[],
    counts: Counts,
    random: () => number,
  ): Promise<ReadonlyMap<Subject, number>[]> {
    return this.#turns(subjects, counts, random, async (runner) => {
      const { pid } = runner.server!;
      const cpuUsBefore = cpuUsOf(pid);
      await this.#send(runner, busyConnections, counts.busy);
      return (cpuUsOf(pid) - cpuUsBefore) / counts.busy;
    });
  }

  /** All subjects run meanwhile, idle but for the one whose turn it is, and the turns are short. */
  async #turns(
    subjects: readonly Subject[],
    counts: Counts,
    random: () => number,
    measure: (runner: Runner) => Promise<number>,
  ): Promise<Map<Subject, number>[]> {
    await using running = new AsyncDisposableStack();
    const runners: Runner[] = [];
    for (const subject of subjects) {
      const runner = running.use(await this.#start(subject));
      await this.#send(runner, busyConnections, counts.warmUp);
      runners.push(runner);
    }
    const turns: Map<Subject, number>[] = [];
    for (let turn = 0; turn < counts.turns; turn++) {
      const measured = new Map<Subject, number>();
      for (const runner of shuffled(runners, random)) measured.set(runner.subject, await measure(runner));
      turns.push(measured);
    }
    return turns;
  }

  async #start(subject: Subject): Promise<Runner> {
    const surroundings: Surroundings = { folder: this.#folder, originPort: this.#origin.port };
    return new Runner(subject, await subject.start(surroundings), this.#origin.port);
  }

  /** Sends through the subject, and sees to it that the origin itself gave each answer. */
  async #send(runner: Runner, connections: number, requests: number): Promise<LoadReport> {
    const request = this.#requests[runner.subject.form].text;
    const run: LoadRun = {
      kind: "requests",
      protocol: "http1",
      route: { port: runner.port },
      request,
      body: this.#body,
      connections,
      streams: 1,
      requests,
    };
    await this.#origin.report();
    const report = await this.#generator.run(run).catch((error: Error) => {
      throw runner.failure(error.message);
    });
    const { answered } = await this.#origin.report();
    if (answered === requests) return report;
    throw runner.failure(`sent ${requests} requests, but the origin answered ${answered}`);
  }
}

/** A subject that runs, until it is disposed of. */
class Runner {
  readonly subject: Subject;
  /** Undefined when nothing stands between the generator and the origin. */
  readonly server: ServerProcess | undefined;
  /** Where the generator sends to. */
  readonly port: number;

  constructor(subject: Subject, server: ServerProcess | undefined, originPort: number) {
    this.subject = subject;
    this.server = server;
    this.port = server?.port ?? originPort;
  }

  /** An error that names the subject and quotes the last it wrote. */
  failure(why: string): Error {
    const tail = this.server?.stderrTail();
    return new Error(`${this.subject.name}: ${why}${tail ? `; it wrote: ${tail}` : ""}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server?.stop();
  }
}
