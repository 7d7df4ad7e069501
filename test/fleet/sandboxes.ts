/**
 * Sandboxes that share a limit over a real store, in virtual time: each has a fleet, a stage and an offered load of its own. Time stands still
 * while a question to the store is under way, so that what is counted depends on no machine's speed.
 */
import { VirtualClock } from "../../src/clock.ts";
import type { FleetOptions, RateLimitOptions } from "../../src/config/types.ts";
import type { Send } from "../../src/exchange.ts";
import { createFleet, type Fleet, type FleetRoute } from "../../src/fleet/fleet.ts";
import { rateLimitStage } from "../../src/policy/rate-limit-stage.ts";
import { answer, call, ONE_BUCKET, seeded } from "../policy/calls.ts";

/** A step of virtual time. */
const STEP_MS = 10;

/** The route that the limit is of. */
export const ROUTE: FleetRoute = { destination: "api", place: "", path: "" };

/** Options of a fleet whose store listens on `port`. */
export function fleetOptions(port: number, changes: Partial<FleetOptions> = {}): FleetOptions {
  return {
    store: `redis://127.0.0.1:${port}`,
    passwordEnv: "",
    prefix: "test:",
    timeoutMs: 1000,
    onFailure: "open",
    rateLimitService: "",
    rateLimitDomain: "outrider",
    ...changes,
  };
}

/** The limit of these tests: 100/s. */
export function sharedLimit(changes: Partial<RateLimitOptions> = {}): RateLimitOptions {
  return { perSecond: 100, burst: 100, overflow: "reject", ...ONE_BUCKET, fleet: true, ...changes };
}

/** One of them. */
export interface Sandbox {
  readonly fleet: Fleet;
  readonly send: Send;
  /** Calls for each second that it offers. */
  offeredPerSecond: number;
  passed: number;
  refused: number;
  /** Messages of refusals, and how often each kind was seen. */
  readonly failures: string[];
}

/** See the file's header. */
export class Sandboxes implements Disposable {
  readonly clock = new VirtualClock();
  readonly all: Sandbox[] = [];
  readonly #random = seeded(7);

  /** A sandbox for each load. */
  constructor(options: FleetOptions, limit: RateLimitOptions, loads: readonly number[]) {
    const { clock } = this;
    for (const offeredPerSecond of loads) {
      const parts = { clock, password: "", identity: "", storeMs: () => clock.wall(), jitter: this.#random };
      const fleet = createFleet(options, parts);
      const send = rateLimitStage(limit, clock, fleet.rates(ROUTE))(async () => answer());
      this.all.push({ fleet, send, offeredPerSecond, passed: 0, refused: 0, failures: [] });
    }
  }

  /** Lets `seconds` pass in which every sandbox offers its load, call by call at random moments; counts begin anew. */
  async run(seconds: number): Promise<void> {
    for (const sandbox of this.all) Object.assign(sandbox, { passed: 0, refused: 0 });
    for (let ms = 0; ms < seconds * 1000; ms += STEP_MS) {
      for (const sandbox of this.all) this.#offer(sandbox);
      await this.settled();
      await this.clock.advance(STEP_MS);
    }
  }

  /** Resolves when no sandbox waits for the store. */
  async settled(): Promise<void> {
    do await new Promise<void>((turn) => setImmediate(turn));
    while (this.all.some(({ fleet }) => fleet.pending() > 0));
    await new Promise<void>((turn) => setImmediate(turn));
  }

  /** Calls that passed, all together. */
  get passed(): number {
    return this.all.reduce((sum, { passed }) => sum + passed, 0);
  }

  [Symbol.dispose](): void {
    for (const { fleet } of this.all) fleet.close();
  }

  #offer(sandbox: Sandbox): void {
    const due = (sandbox.offeredPerSecond * STEP_MS) / 1000;
    const count = Math.floor(due) + (this.#random() < due % 1 ? 1 : 0);
    for (let i = 0; i < count; i++) {
      sandbox.send(call()).then(
        () => (sandbox.passed += 1),
        (error) => {
          sandbox.refused += 1;
          sandbox.failures.push(error.message);
        },
      );
    }
  }
}
