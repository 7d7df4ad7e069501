/**
 * What is done with each subject that passes bytes: check it, move bytes each way, open connections, and see what idle ones cost it.
 * Owns the procedure of one subject; which subjects, how often and in which order is the bench's.
 */

import { setTimeout as sleep } from "node:timers/promises";
import type { RoutedSubject, Started } from "../peers/routed-subject.ts";
import { cpuUsOf, memoryOf } from "../proc.ts";
import type { MetricName } from "../report.ts";
import type { BulkCommand } from "./bulk.ts";
import { type BulkGenerator, type BulkOrigin, startBulkGenerator, startBulkOrigin } from "./bulk-load.ts";
import { type Certificates, makeCertificates } from "./certificates.ts";

/** How much each step does. */
export interface TunnelCounts {
  /** MB (2^20 bytes) each way before anything is timed. */
  readonly warmUpMb: number;
  /** MB each way that are timed, all connections together. */
  readonly mb: number;
  /** Connections that are opened, greeted and closed. */
  readonly connects: number;
  /** Idle tunnels whose memory is measured. */
  readonly idle: number;
}

/** Metrics of one round. */
type Measured = Partial<Record<MetricName, number>>;

/** Connections that carry bytes at the same time. */
export const bulkConnections = 4;
/** Connections that are opened at the same time. */
export const connectsAtOnce = 16;

/** Not a multiple of the pattern, so that a piece which is lost or repeated shows. */
const checkBytes = 3_000_001;
/** Opened before the first look at the memory, so that what the first tunnels bring along is not counted. */
const idleBefore = 50;
/** Time that a subject gets to settle before its memory is read. */
const settleMs = 500;

/** A course that subjects run one after the other. */
export class TunnelCourse {
  readonly #folder: string;
  readonly #counts: TunnelCounts;
  readonly #certificates: Certificates;
  readonly #origin: BulkOrigin;
  readonly #generator: BulkGenerator;

  private constructor(folder: string, counts: TunnelCounts, origin: BulkOrigin, generator: BulkGenerator) {
    this.#folder = folder;
    this.#counts = counts;
    this.#certificates = makeCertificates(folder);
    this.#origin = origin;
    this.#generator = generator;
  }

  /** Starts the origin and the generator. `folder` takes configurations; the bytes are drawn from `seed`. */
  static async open(folder: string, counts: TunnelCounts, seed: number): Promise<TunnelCourse> {
    return new TunnelCourse(folder, counts, await startBulkOrigin(seed), await startBulkGenerator(seed));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#generator[Symbol.asyncDispose]();
    await this.#origin[Symbol.asyncDispose]();
  }

  /** Throws an Error unless every byte arrives on both sides, from the origin itself. */
  async check(subject: RoutedSubject): Promise<void> {
    await using running = await this.#start(subject);
    const { started } = running;
    await this.#move(subject, started, "send", checkBytes);
    await this.#move(subject, started, "receive", checkBytes);
  }

  /**
   * One round of one subject in two processes that start anew: one for the load, one for the memory of what idles, which would hide
   * in what the load has left behind. CPU time and memory only where there is a process.
   */
  async round(subject: RoutedSubject): Promise<Measured> {
    return { ...(await this.#underLoad(subject)), ...(await this.#idle(subject)) };
  }

  async #underLoad(subject: RoutedSubject): Promise<Measured> {
    const counts = this.#counts;
    await using running = await this.#start(subject);
    const { started } = running;
    const pid = started.server?.pid;
    const cpuUs = () => (pid === undefined ? 0 : cpuUsOf(pid));
    const bytesEach = (mb: number) => Math.ceil((mb * 2 ** 20) / bulkConnections);
    for (const wish of ["send", "receive"] as const) {
      await this.#move(subject, started, wish, bytesEach(counts.warmUpMb));
    }
    const beforeBulkUs = cpuUs();
    const upMs = await this.#move(subject, started, "send", bytesEach(counts.mb));
    const downMs = await this.#move(subject, started, "receive", bytesEach(counts.mb));
    const bulkUs = cpuUs() - beforeBulkUs;
    await this.#connect(subject, started, Math.ceil(counts.connects / 2));
    const beforeConnectsUs = cpuUs();
    const connectsMs = await this.#connect(subject, started, counts.connects);
    const connectsUs = cpuUs() - beforeConnectsUs;
    const speed = {
      up_mb_per_s: counts.mb / (upMs / 1000),
      down_mb_per_s: counts.mb / (downMs / 1000),
      connects_per_s: counts.connects / (connectsMs / 1000),
    };
    if (pid === undefined) return speed;
    const { pssKb, rssKb } = memoryOf(pid);
    return {
      ...speed,
      cpu_us_per_mb: bulkUs / (2 * counts.mb),
      cpu_us_per_connect: connectsUs / counts.connects,
      pss_kb: pssKb,
      rss_kb: rssKb,
    };
  }

  async #idle(subject: RoutedSubject): Promise<Measured> {
    await using running = await this.#start(subject);
    const { started } = running;
    const pid = started.server?.pid;
    if (pid === undefined) return {};
    const { route } = started;
    const held = async (connections: number) => {
      await this.#run(subject, { kind: "hold", route, connections });
      await sleep(settleMs);
      return memoryOf(pid).pssKb;
    };
    const { idle } = this.#counts;
    const before = await held(idleBefore);
    return { idle_connection_kb: ((await held(idle)) - before) / idle };
  }

  async #start(subject: RoutedSubject) {
    const originPort = this.#origin.port;
    const started = await subject.start({
      originPort,
      folder: this.#folder,
      certificates: this.#certificates,
    });
    return {
      started,
      [Symbol.asyncDispose]: async () => {
        await this.#generator.run({ kind: "release" });
        await started.server?.stop();
      },
    };
  }

  /** Moves `bytes` bytes over each connection, and sees to it that the origin itself took or gave them. Resolves to the ms. */
  async #move(
    subject: RoutedSubject,
    { route }: Started,
    wish: "send" | "receive",
    bytes: number,
  ): Promise<number> {
    await this.#origin.report();
    const connections = bulkConnections;
    const elapsedMs = await this.#run(subject, { kind: "bulk", route, wish, connections, bytes });
    const served = await this.#origin.report();
    if (served.bytes === bytes * connections) return elapsedMs;
    throw new Error(
      `${subject.name}: moved ${bytes * connections} bytes, but the origin saw ${served.bytes}`,
    );
  }

  async #connect(subject: RoutedSubject, { route }: Started, total: number): Promise<number> {
    await this.#origin.report();
    const run = { kind: "connect", route, connections: connectsAtOnce, total } as const;
    const elapsedMs = await this.#run(subject, run);
    const { connections } = await this.#origin.report();
    if (connections === total) return elapsedMs;
    throw new Error(`${subject.name}: opened ${total} connections, but the origin saw ${connections}`);
  }

  async #run(subject: RoutedSubject, command: BulkCommand): Promise<number> {
    return this.#generator.run(command).catch((error: Error) => {
      throw new Error(`${subject.name}: ${error.message}`);
    });
  }
}
