/**
 * Starts a subject as a process group of its own, waits until its port answers and ends it again.
 * Ends only what it started, also when the bench itself is interrupted.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** How to start a process; `env` is its whole environment. */
export interface Command {
  /** Names the subject in messages. */
  readonly name: string;
  readonly file: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** A started process that leads its own process group. */
export interface StartedProcess {
  readonly pid: number;
  /** Resolves when it has ended, for whatever reason. */
  readonly ended: Promise<void>;
  /** The end of what it wrote to stderr, up to `stderrBytesMax`. */
  stderrTail(): string;
  /** SIGTERM to the group, SIGKILL after `stopGraceMs`, and waits for the end. */
  stop(): Promise<void>;
}

/** A started process that accepts connections on `port` of 127.0.0.1. */
export interface ServerProcess extends StartedProcess {
  readonly port: number;
}

/** What is kept of a process's stderr for an error message; older bytes are dropped. */
const stderrBytesMax = 4096;
const startMaxMs = 20_000;
const stopGraceMs = 3_000;

const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) signalGroup(child, "SIGKILL");
});

/**
 * Starts a process. Its stdout goes to /dev/null, so that reading it costs no other process CPU time.
 * Throws an Error when the file cannot be started.
 */
export async function startProcess(command: Command): Promise<StartedProcess> {
  const child = spawn(command.file, command.args, {
    detached: true,
    stdio: ["ignore", "ignore", "pipe"],
    env: { PATH: process.env.PATH, ...command.env },
  });
  running.add(child);
  let tail = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    tail = (tail + text).slice(-stderrBytesMax);
  });
  const ended = once(child, "exit").then(
    () => {
      // Whatever a leader left behind in its group ends with it.
      signalGroup(child, "SIGKILL");
      running.delete(child);
    },
    (error) => {
      running.delete(child);
      throw error;
    },
  );
  await Promise.race([once(child, "spawn"), ended]);
  return {
    pid: child.pid!,
    ended,
    stderrTail: () => tail.trim(),
    stop: async () => {
      signalGroup(child, "SIGTERM");
      const grace = setTimeout(() => signalGroup(child, "SIGKILL"), stopGraceMs);
      await ended;
      clearTimeout(grace);
    },
  };
}

/** Starts a process and waits until it accepts connections; throws an Error with its stderr when it does not. */
export async function startServer(command: Command, port: number): Promise<ServerProcess> {
  const started = await startProcess(command);
  let hasEnded = false;
  void started.ended.then(() => {
    hasEnded = true;
  });
  const giveUpAtMs = performance.now() + startMaxMs;
  while (!(await accepts(port))) {
    if (hasEnded || performance.now() > giveUpAtMs) {
      await started.stop();
      throw new Error(
        `${command.name} does not listen on port ${port}: ${started.stderrTail() || "no message"}`,
      );
    }
    await sleep(20);
  }
  return { ...started, port };
}

/** A port of 127.0.0.1 that was free a moment ago, for servers that must be told theirs. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined || !running.has(child)) return;
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    // The whole group has ended in the meantime.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
