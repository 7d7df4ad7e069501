/**
 * Opens what the log writes to. Owns the descriptor's flags; writing is `line-writer.ts`.
 *
 * A write to a full pipe blocks whoever makes it, and a thread that is blocked so keeps the process from exiting (libuv joins
 * its
 * pool). Setting O_NONBLOCK on the inherited descriptor would set it for every process that shares it. So a pipe is opened once
 * more through /proc, which gives a description of our own (proc_pid_fd(5)), with O_NONBLOCK on that one only.
 */
import { close, constants, fstat, open } from "node:fs";
import { promisify } from "node:util";

const openFile = promisify(open);
const statOf = promisify(fstat);
const closeFile = promisify(close);

/** An open destination. */
export interface Descriptor {
  readonly fd: number;
  /** A write either takes bytes at once or fails with EAGAIN; otherwise it may block and belongs in a thread of the pool. */
  readonly nonBlocking: boolean;
}

const STANDARD_STREAMS: ReadonlyMap<string, number> = new Map([
  ["stdout", 1],
  ["stderr", 2],
]);

/** Only its owner reads a log, and a symbolic link that someone left in a shared folder is not followed. */
const FILE_MODE = 0o600;
const FILE_FLAGS =
  constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * Opens `stdout`, `stderr` or `file:/path`. A file is appended to and made if need be.
 * @throws Error with one sentence that names the destination, the reason and the remedy
 */
export async function openDestination(destination: string): Promise<Descriptor> {
  const stream = STANDARD_STREAMS.get(destination);
  if (stream !== undefined) return openStream(stream);
  if (!destination.startsWith("file:/")) {
    throw new Error(
      `telemetry.destination is ${JSON.stringify(destination)}: write stdout, stderr or file:/path`,
    );
  }
  const path = destination.slice("file:".length);
  try {
    const fd = await openFile(path, FILE_FLAGS, FILE_MODE);
    return { fd, nonBlocking: (await statOf(fd)).isFIFO() };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Error(`telemetry.destination ${path} cannot be opened (${code}): ${remedyFor(code)}`);
  }
}

/** Closes what `openDestination` opened; the standard streams stay open. */
export async function closeDestination(descriptor: Descriptor): Promise<void> {
  if (descriptor.fd > 2) await closeFile(descriptor.fd);
}

async function openStream(fd: number): Promise<Descriptor> {
  try {
    if ((await statOf(fd)).isFIFO()) {
      return {
        fd: await openFile(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK),
        nonBlocking: true,
      };
    }
  } catch {
    // No /proc, or the pipe belongs to another user: the inherited descriptor still writes.
  }
  return { fd, nonBlocking: false };
}

function remedyFor(code: string | undefined): string {
  if (code === "ELOOP") return "it is a symbolic link; name the file itself, or stdout";
  if (code === "ENXIO") return "it is a pipe that nobody reads; start the reader first";
  if (code === "EISDIR") return "it is a folder; name a file in it";
  if (code === "ENOENT") return "make its folder, or write stdout";
  return "choose a place that can be written, or stdout";
}
