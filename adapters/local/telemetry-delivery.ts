/**
 * Carries batches of telemetry to an extension's listener.
 *
 * Owns one attempt over HTTP or TCP. `sandbox.localdomain` is this machine's loopback address: no name is resolved and nothing
 * leaves the machine. Retrying is the relay's business.
 */
import { request } from "node:http";
import { createConnection, type Socket } from "node:net";
import type { Destination } from "./telemetry-subscription.ts";

/** Delivers one batch of JSON texts; rejects when the listener did not take it, or when `signal` fires. */
export interface Sink {
  deliver(events: readonly string[], signal: AbortSignal): Promise<void>;
  close(): void;
}

/** The sink for `destination`. Connects when it first delivers. */
export function createSink(destination: Destination): Sink {
  return destination.protocol === "TCP" ? tcpSink(destination.port) : httpSink(destination);
}

function httpSink({ port, path, host }: Extract<Destination, { protocol: "HTTP" }>): Sink {
  return {
    deliver(events, signal) {
      const body = `[${events.join(",")}]`;
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const outgoing = request(
        {
          host: "127.0.0.1",
          port,
          path,
          method: "POST",
          // A connection of its own each time: one kept open across a freeze may be dead without anybody knowing.
          agent: false,
          signal,
          headers: {
            Host: host,
            "Content-Type": "application/json",
            "Content-Length": Buffer.byteLength(body),
          },
        },
        (response) => {
          const { statusCode = 0 } = response;
          response.resume();
          if (statusCode >= 200 && statusCode < 300) resolve();
          else reject(new Error(`the listener answered ${statusCode}`));
        },
      );
      outgoing.on("error", reject);
      outgoing.end(body);
      return promise;
    },
    close() {},
  };
}

function tcpSink(port: number): Sink {
  let socket: Socket | undefined;
  const connect = (signal: AbortSignal): Promise<Socket> => {
    if (socket?.writable) return Promise.resolve(socket);
    const { promise, resolve, reject } = Promise.withResolvers<Socket>();
    const fresh = createConnection({ host: "127.0.0.1", port, signal });
    fresh.once("connect", () => resolve(fresh));
    fresh.on("error", reject);
    fresh.resume();
    socket = fresh;
    return promise;
  };
  return {
    async deliver(events, signal) {
      const open = await connect(signal);
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const closed = () => reject(new Error("the listener closed the connection"));
      open.once("close", closed);
      const lines = events.map((event) => `${event}\n`).join("");
      open.write(lines, (error) => (error ? reject(error) : resolve()));
      await promise.finally(() => open.off("close", closed));
    },
    close: () => void socket?.destroy(),
  };
}
