/**
 * What is done with each subject that exchanges requests over routes of its own: check it, put it under load, let it shake
 * hands, and see what idle connections and open exchanges cost it. Owns the procedure of one subject; which subjects, how often
 * and in which order is the bench's.
 */

import type { RoutedSubject } from "../peers/routed-subject.ts";
import { memoryOf } from "../proc.ts";
import type { MetricName } from "../report.ts";
import { type Certificates, makeCertificates, tlsHost } from "./certificates.ts";
import { Runner, type Shape } from "./exchange-runner.ts";
import { type Generator, type Origin, startGenerator, startOrigin } from "./load.ts";
import {
  buildRequest,
  buildResponse,
  missingFrom,
  type RequestMessage,
  type ResponseMessage,
} from "./messages.ts";

/** How much each step does, before a subject's share of it is taken. */
export interface ExchangeCounts {
  /** Requests before anything is timed: the compiler of V8 must have seen the whole path. */
  readonly warmUp: number;
  /** Requests in the measured run. */
  readonly busy: number;
  /** Connections that are opened for one request each; 0 leaves the step out. */
  readonly handshakes: number;
  /** Idle connections whose memory is measured. */
  readonly idle: number;
  /** Exchanges that are left open on them afterwards, whose memory is measured. */
  readonly open: number;
}

/** Metrics of one round. */
type Measured = Partial<Record<MetricName, number>>;

const checkConnections = 2;
const checkRequests = 64;
/** Opened before the first look at the memory, so that what the first connections bring along is not counted. */
const idleBefore = 20;

/** A course that subjects run one after the other. */
export class ExchangeCourse {
  readonly #folder: string;
  readonly #shape: Shape;
  readonly #counts: ExchangeCounts;
  readonly #certificates: Certificates;
  readonly #generator: Generator;
  readonly #origins: Readonly<Record<"plain" | "secure", Origin>>;
  readonly #requests: Readonly<Record<"plain" | "secure", RequestMessage>>;
  readonly #response: ResponseMessage;

  private constructor(
    folder: string,
    shape: Shape,
    counts: ExchangeCounts,
    certificates: Certificates,
    origins: Readonly<Record<"plain" | "secure", Origin>>,
    response: ResponseMessage,
    random: () => number,
  ) {
    this.#folder = folder;
    this.#shape = shape;
    this.#counts = counts;
    this.#certificates = certificates;
    this.#origins = origins;
    this.#response = response;
    this.#generator = startGenerator();
    const requestTo = ({ port }: Origin) => buildRequest("origin", `${tlsHost}:${port}`, random);
    this.#requests = { plain: requestTo(origins.plain), secure: requestTo(origins.secure) };
  }

  /** Starts the origins and the generator. `folder` takes configurations and certificates; `random` draws the payloads. */
  static async open(
    folder: string,
    shape: Shape,
    counts: ExchangeCounts,
    random: () => number,
  ): Promise<ExchangeCourse> {
    const certificates = makeCertificates(folder);
    const response = buildResponse(random);
    const listen = { response: response.text, protocol: shape.protocol };
    const plain = await startOrigin(listen);
    const { key, cert } = certificates;
    const secure = await startOrigin({ ...listen, tls: { key, cert } });
    return new ExchangeCourse(folder, shape, counts, certificates, { plain, secure }, response, random);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#generator[Symbol.asyncDispose]();
    await this.#origins.plain[Symbol.asyncDispose]();
    await this.#origins.secure[Symbol.asyncDispose]();
  }

  /** Throws an Error unless every answer is right and the request reached the origin as it was meant. */
  async check(subject: RoutedSubject): Promise<void> {
    await using runner = await this.#start(subject);
    await runner.requests(checkConnections, checkRequests);
    const { lastHead } = await runner.origin.report();
    const missing = missingFrom(lastHead, runner.request.secret, subject.addedHeaders);
    if (missing === undefined) return;
    throw runner.failure(
      `expected ${JSON.stringify(missing)} at the origin, got ${JSON.stringify(lastHead)}`,
    );
  }

  /** One round of one subject in two processes that start anew: one for the load, one for the memory of what waits. */
  async round(subject: RoutedSubject): Promise<Measured> {
    return { ...(await this.#underLoad(subject)), ...(await this.#waiting(subject)) };
  }

  async #underLoad(subject: RoutedSubject): Promise<Measured> {
    const counts = this.#counts;
    await using runner = await this.#start(subject);
    const { connections } = this.#shape;
    await runner.requests(connections, runner.shareOf(counts.warmUp));
    const busy = runner.shareOf(counts.busy);
    const load = await runner.accounted(() => runner.requests(connections, busy));
    const measured: Measured = {
      requests_per_s: busy / (load.elapsedMs / 1000),
      bench_cpu_us_per_request: load.benchCpuUs / busy,
      ...(runner.pid === undefined ? {} : { cpu_us_per_request: load.cpuUs / busy }),
    };
    if (counts.handshakes > 0) {
      const handshakes = runner.shareOf(counts.handshakes);
      await runner.handshakes(Math.ceil(handshakes / 4));
      const shaken = await runner.accounted(() => runner.handshakes(handshakes));
      measured.handshakes_per_s = handshakes / (shaken.elapsedMs / 1000);
      if (runner.pid !== undefined) measured.cpu_us_per_handshake = shaken.cpuUs / handshakes;
    }
    if (runner.pid === undefined) return measured;
    const { pssKb, rssKb } = memoryOf(runner.pid);
    return { ...measured, pss_kb: pssKb, rss_kb: rssKb };
  }

  async #waiting(subject: RoutedSubject): Promise<Measured> {
    await using runner = await this.#start(subject);
    if (runner.pid === undefined) return {};
    const idle = runner.shareOf(this.#counts.idle);
    const open = runner.shareOf(this.#counts.open);
    await runner.hold(idleBefore);
    const before = await runner.settledMemory();
    await runner.hold(idle);
    const idling = await runner.settledMemory();
    const asked = await runner.leaveOpen(open);
    const exchanging = await runner.settledMemory();
    return {
      idle_connection_kb: (idling - before) / idle,
      open_exchange_kb: (exchanging - idling) / asked,
    };
  }

  async #start(subject: RoutedSubject): Promise<Runner> {
    const kind = subject.secureOrigin ? "secure" : "plain";
    const origin = this.#origins[kind];
    const started = await subject.start({
      originPort: origin.port,
      folder: this.#folder,
      certificates: this.#certificates,
    });
    const request = this.#requests[kind];
    return new Runner(subject, started, this.#shape, this.#generator, origin, request, this.#response.body);
  }
}
