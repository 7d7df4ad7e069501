/**
 * The load generator of the bench `tunnel`, a process of its own. It checks every byte that it receives. The parent starts it with
 * `startBulkGenerator` of `bulk-load.ts` and speaks over IPC.
 */

import type { Socket } from "node:net";
import {
  type BulkAnswer,
  type BulkCommand,
  type BulkRun,
  type ConnectRun,
  confirmation,
  PatternReader,
  patternBytes,
  patternOf,
  writeHead,
} from "./bulk.ts";
import { open, type Route } from "./route.ts";

/** A run in which nothing arrives for so long fails instead of hanging. */
const silenceMaxMs = 20_000;
/** Tunnels that are opened at the same time. */
const openingMax = 64;

let pattern: Buffer;
const held: Client[] = [];

process.on("message", (command: BulkCommand) => {
  const startedMs = performance.now();
  obey(command).then(
    (elapsedMs) =>
      process.send!({ elapsedMs: elapsedMs ?? performance.now() - startedMs } satisfies BulkAnswer),
    (error: Error) => process.send!({ failure: error.message } satisfies BulkAnswer),
  );
});
process.on("disconnect", () => process.exit(0));

/** Resolves to the ms that count, or to nothing when all of them do. */
async function obey(command: BulkCommand): Promise<number | undefined> {
  if (command.kind === "pattern") pattern = patternOf(command.seed);
  else if (command.kind === "bulk") return move(command);
  else if (command.kind === "connect") await connectAll(command);
  else if (command.kind === "release") for (const client of held.splice(0)) client.close();
  else {
    for (let left = command.connections; left > 0; left -= openingMax) {
      const opening = Array.from({ length: Math.min(left, openingMax) }, () => Client.greeted(command.route));
      held.push(...(await Promise.all(opening)));
    }
  }
  return undefined;
}

async function move({ route, connections, wish, bytes }: BulkRun): Promise<number> {
  const clients = await Promise.all(Array.from({ length: connections }, () => Client.greeted(route)));
  const startedMs = performance.now();
  await Promise.all(clients.map((client) => (wish === "send" ? client.send(bytes) : client.receive(bytes))));
  const elapsedMs = performance.now() - startedMs;
  for (const client of clients) client.close();
  return elapsedMs;
}

async function connectAll({ route, connections, total }: ConnectRun): Promise<void> {
  let left = total;
  const connectNext = async (): Promise<void> => {
    while (left-- > 0) (await Client.greeted(route)).close();
  };
  await Promise.all(Array.from({ length: connections }, connectNext));
}

/** One connection, with one wish at a time. */
class Client {
  #socket!: Socket;
  #expected = new PatternReader(confirmation, 0);
  #fulfilled = Promise.withResolvers<void>();
  #silence: NodeJS.Timeout | undefined;

  /** Opens a connection and waits until the origin itself has answered. */
  static async greeted(route: Route): Promise<Client> {
    const client = new Client();
    client.#fulfilled.promise.catch(() => undefined);
    client.#socket = await open(route, {
      bytes: (bytes) => client.#read(bytes),
      lost: (why) => client.#fulfilled.reject(new Error(why)),
    });
    await client.#wish(writeHead("greet", 0), confirmation, confirmation.length);
    return client;
  }

  /** Resolves when the origin has confirmed `bytes` bytes. */
  async send(bytes: number): Promise<void> {
    const confirmed = this.#wish(writeHead("send", bytes), confirmation, confirmation.length);
    let left = bytes;
    const sendMore = (): void => {
      let taken = true;
      while (left > 0 && taken) {
        const length = Math.min(left, patternBytes);
        left -= length;
        taken = this.#socket.write(length === patternBytes ? pattern : pattern.subarray(0, length));
      }
    };
    this.#socket.on("drain", sendMore);
    sendMore();
    await confirmed;
  }

  /** Resolves when `bytes` bytes have come. */
  receive(bytes: number): Promise<void> {
    return this.#wish(writeHead("receive", bytes), pattern, bytes);
  }

  close(): void {
    this.#socket.destroy();
  }

  async #wish(head: Buffer, expected: Buffer, bytes: number): Promise<void> {
    this.#fulfilled = Promise.withResolvers();
    this.#expected = new PatternReader(expected, bytes);
    this.#silence = setTimeout(() => {
      this.#fulfilled.reject(new Error(`nothing arrived for ${silenceMaxMs / 1000} s`));
    }, silenceMaxMs);
    this.#socket.write(head);
    try {
      await this.#fulfilled.promise;
    } finally {
      clearTimeout(this.#silence);
    }
  }

  #read(bytes: Buffer): void {
    this.#silence?.refresh();
    try {
      this.#expected.read(bytes);
      if (this.#expected.complete) this.#fulfilled.resolve();
    } catch (error) {
      this.#fulfilled.reject(error);
    }
  }
}
