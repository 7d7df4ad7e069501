/**
 * The origin of the bench `tunnel`, a process of its own: it fulfils the wishes of `bulk.ts` over plain TCP. The parent starts it
 * with `startBulkOrigin` of `bulk-load.ts` and speaks over IPC.
 */

import { type AddressInfo, createServer, type Socket } from "node:net";
import {
  type BulkOriginAnswer,
  type BulkOriginCommand,
  confirmation,
  headBytes,
  PatternReader,
  patternBytes,
  patternOf,
  readHead,
} from "./bulk.ts";

let pattern: Buffer;
let connections = 0;
let bytes = 0;

const server = createServer({ noDelay: true }, serve);

process.on("message", (command: BulkOriginCommand) => {
  if (command.kind === "report") return report();
  pattern = patternOf(command.seed);
  server.listen(0, "127.0.0.1", report);
});
process.on("disconnect", () => process.exit(0));

function report(): void {
  const { port } = server.address() as AddressInfo;
  process.send!({ port, connections, bytes } satisfies BulkOriginAnswer);
  connections = 0;
  bytes = 0;
}

function serve(socket: Socket): void {
  connections++;
  let head: Buffer = Buffer.alloc(0);
  let body: PatternReader | undefined;
  const take = (chunk: Buffer): void => {
    if (body) {
      body.read(chunk);
      bytes += chunk.length;
      if (!body.complete) return;
      body = undefined;
      socket.write(confirmation);
      return;
    }
    const missing = headBytes - head.length;
    head = Buffer.concat([head, chunk.subarray(0, missing)]);
    if (head.length < headBytes) return;
    const { wish, bytes: wished } = readHead(head);
    head = Buffer.alloc(0);
    if (wish === "greet") socket.write(confirmation);
    else if (wish === "receive") sendPattern(socket, wished);
    else body = new PatternReader(pattern, wished);
    if (chunk.length > missing) take(chunk.subarray(missing));
  };
  socket.on("data", (chunk) => {
    try {
      take(chunk);
    } catch {
      // The generator waits for a confirmation that does not come: a reset tells it at once.
      socket.resetAndDestroy();
    }
  });
  // A subject that is stopped resets its connections, which is the expected end of a round.
  socket.on("error", () => socket.destroy());
}

function sendPattern(socket: Socket, total: number): void {
  let left = total;
  const sendMore = (): void => {
    let taken = true;
    while (left > 0 && taken) {
      const length = Math.min(left, patternBytes);
      left -= length;
      bytes += length;
      taken = socket.write(length === patternBytes ? pattern : pattern.subarray(0, length));
    }
    if (left === 0) socket.off("drain", sendMore);
  };
  socket.on("drain", sendMore);
  sendMore();
}
