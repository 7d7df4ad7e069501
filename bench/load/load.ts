/**
 * Starts the origin and the load generator as processes of their own. The work is in `origin.ts` and `generator.ts`.
 */

import { Child } from "./child.ts";
import type { LoadReport } from "./closed-loop.ts";
import type { HandshakeRun, HoldRun, LoadAnswer, LoadCommand, LoadRun } from "./exchange.ts";
import type { OriginAnswer, OriginCommand, OriginListen } from "./origin.ts";

/** What arrived at an origin. */
export interface Arrived {
  /** Requests answered since the last report. */
  readonly answered: number;
  /** Requests whose answers are held back. */
  readonly held: number;
  /** The head of the last request, as HTTP/1.1 writes it. */
  readonly lastHead: string;
}

/** A running origin. */
export interface Origin {
  /** Its port on 127.0.0.1. */
  readonly port: number;
  readonly pid: number;
  report(): Promise<Arrived>;
  /** From now on its answers are held back, or given again; what was held stays without an answer. */
  hold(on: boolean): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** A running load generator. */
export interface Generator {
  readonly pid: number;
  /** Throws an Error that says what was wrong as soon as one answer is not the expected one. */
  run(run: LoadRun | HandshakeRun): Promise<LoadReport>;
  /** Opens connections and keeps them until `release`. */
  hold(run: HoldRun): Promise<void>;
  /** Sends requests on the `connections` that were held last, and waits for none of their answers. */
  ask(connections: number, streams: number): Promise<void>;
  release(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts an origin that answers every request with the same response. */
export async function startOrigin(listen: Omit<OriginListen, "kind">): Promise<Origin> {
  const child = new Child("origin.ts");
  const ask = async (command: OriginCommand) => (await child.ask(command)) as OriginAnswer;
  const listening = await ask({ kind: "listen", ...listen });
  if (listening.kind !== "listening") throw new Error("the origin did not start to listen");
  return {
    port: listening.port,
    pid: child.pid,
    report: async () => {
      const report = await ask({ kind: "report" });
      if (report.kind !== "report") throw new Error("the origin did not report");
      return report;
    },
    hold: async (on) => {
      await ask({ kind: "hold", on });
    },
    [Symbol.asyncDispose]: () => child.stop(),
  };
}

/** Starts a load generator that waits for runs. */
export function startGenerator(): Generator {
  const child = new Child("generator.ts");
  const ask = async (command: LoadCommand) => {
    const answer = (await child.ask(command)) as LoadAnswer;
    if ("failure" in answer) throw new Error(answer.failure);
    return answer;
  };
  return {
    pid: child.pid,
    run: async (run) => {
      const answer = await ask(run);
      if (!("report" in answer)) throw new Error("the generator did not report");
      return answer.report;
    },
    hold: async (run) => {
      await ask(run);
    },
    ask: async (connections, streams) => {
      await ask({ kind: "ask", connections, streams });
    },
    release: async () => {
      await ask({ kind: "release" });
    },
    [Symbol.asyncDispose]: () => child.stop(),
  };
}
