/**
 * The load generator, a process of its own: a closed loop over a fixed number of connections. It checks the status, the
 * length and the body of every answer, and a single wrong one fails the run. The parent starts it with `startGenerator`
 * of `load.ts` and speaks over IPC.
 */

import { ClosedLoop, type LoadReport, silenceMaxMs } from "./closed-loop.ts";
import type { AskRun, HandshakeRun, HoldRun, LoadAnswer, LoadCommand, LoadRun } from "./exchange.ts";
import { Http1Connection } from "./http1-connection.ts";
import { Http2Connection } from "./http2-connection.ts";

type Connection = Http1Connection | Http2Connection;

/** How many connections are opened at the same time before a run; a backlog that overflows would be measured. */
const openingMax = 64;

/** A connection whose first request has been answered. */
interface Used {
  readonly connection: Connection;
  /** Whether the far end has closed it since. */
  lost: boolean;
}

const held: Used[] = [];

process.on("message", (command: LoadCommand) => {
  answer(command).then(
    (given) => process.send!(given),
    (error: Error) => process.send!({ failure: error.message } satisfies LoadAnswer),
  );
});
process.on("disconnect", () => process.exit(0));

async function answer(command: LoadCommand): Promise<LoadAnswer> {
  if (command.kind === "requests") return { report: await sendRequests(command) };
  if (command.kind === "handshakes") return { report: await shakeHands(command) };
  if (command.kind === "hold") await hold(command);
  else if (command.kind === "ask") ask(command);
  else release();
  return { done: true };
}

function openOne(
  { route, protocol, request, body }: LoadRun | HandshakeRun | HoldRun,
  done: (sentMs: number) => void,
  failed: (why: string) => void,
): Promise<Connection> {
  const kind = protocol === "http1" ? Http1Connection : Http2Connection;
  return kind.open(route, { request, body }, done, failed);
}

async function sendRequests(run: LoadRun): Promise<LoadReport> {
  const loop = new ClosedLoop(run.requests);
  const connections: Connection[] = [];
  const openNext = async (): Promise<void> => {
    const connection: Connection = await openOne(
      run,
      (sentMs) => {
        loop.answered(sentMs);
        if (loop.take()) connection.send();
      },
      (why) => loop.fail(why),
    );
    connections.push(connection);
  };
  try {
    for (let left = run.connections; left > 0; left -= openingMax) {
      await Promise.all(Array.from({ length: Math.min(left, openingMax) }, openNext));
    }
    loop.start();
    for (let stream = 0; stream < run.streams; stream++) {
      for (const connection of connections) if (loop.take()) connection.send();
    }
    return await loop.finished;
  } catch (error) {
    loop.fail((error as Error).message);
    throw error;
  } finally {
    for (const connection of connections) connection.close();
  }
}

async function shakeHands(run: HandshakeRun): Promise<LoadReport> {
  const loop = new ClosedLoop(run.handshakes);
  const shakeNext = async (): Promise<void> => {
    while (loop.take()) {
      const startedMs = performance.now();
      const { connection } = await exchangeOne(run);
      (connection as Http1Connection).end();
      loop.answered(startedMs);
    }
  };
  loop.start();
  await Promise.all(Array.from({ length: run.connections }, shakeNext)).catch((error: Error) => {
    loop.fail(error.message);
  });
  return loop.finished;
}

/** Opens a connection and sends one request over it; rejects unless the answer is right. */
async function exchangeOne(run: HandshakeRun | HoldRun): Promise<Used> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let used: Used | undefined;
  const connection = await openOne(
    run,
    () => resolve(),
    (why) => {
      if (used) used.lost = true;
      reject(new Error(why));
    },
  );
  used = { connection, lost: false };
  const silence = setTimeout(() => {
    reject(new Error(`no answer for ${silenceMaxMs / 1000} s on a new connection`));
  }, silenceMaxMs);
  connection.send();
  await promise.finally(() => clearTimeout(silence));
  return used;
}

async function hold(run: HoldRun): Promise<void> {
  for (let left = run.connections; left > 0; left -= openingMax) {
    held.push(
      ...(await Promise.all(Array.from({ length: Math.min(left, openingMax) }, () => exchangeOne(run)))),
    );
  }
}

function ask({ connections, streams }: AskRun): void {
  const lost = held.filter((used) => used.lost).length;
  if (lost > 0) throw new Error(`${lost} of ${held.length} idle connections were closed`);
  for (const { connection } of held.slice(-connections)) {
    for (let stream = 0; stream < streams; stream++) connection.send();
  }
}

function release(): void {
  for (const { connection } of held.splice(0)) connection.close();
}
