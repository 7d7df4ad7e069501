/**
 * A process that holds many connections: `crowd.ts PORT COUNT REQUEST`. Opens them some at a time, sends the request on each, waits
 * for each answer, then tells its parent how many are open; again whenever the parent asks. Ends when it is killed.
 */
import { connect, type Socket } from "node:net";

/** Connections that are being opened at a time: fewer than a listening socket's backlog holds. */
const OPENING_MAX = 50;

const [port, count, request] = process.argv.slice(2) as [string, string, string];
const standing = new Set<Socket>();

/** Resolves when the connection has been answered, or is gone. */
function join(): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ port: Number(port), host: "127.0.0.1" }, () => socket.write(request));
    socket.once("data", () => {
      standing.add(socket);
      resolve();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      standing.delete(socket);
      resolve();
    });
  });
}

let left = Number(count);
async function lane(): Promise<void> {
  while (left-- > 0) await join();
}

process.on("message", () => process.send!(standing.size));
process.on("disconnect", () => process.exit());
await Promise.all(Array.from({ length: OPENING_MAX }, lane));
process.send!(standing.size);
