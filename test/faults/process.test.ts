/** Faults of the proxy's own process: what the application sees when it is gone. */
import { describe, expect, test } from "vitest";
import { eventually } from "../kit/eventually.ts";
import { ok, scriptedOrigin, silence, step } from "../kit/origin.ts";
import { startProgram } from "../kit/program.ts";
import { get } from "../kit/proxy.ts";
import { askOnce, rawClient } from "../kit/raw-client.ts";

describe("fault 20: a proxy that is killed (SIGKILL)", () => {
  test("fault 20: breaks the calls and tunnels in flight at once, for both sides, and refuses new connections", async () => {
    await using origin = await scriptedOrigin([silence(), step(() => false, "connect")]);
    await using program = await startProgram();
    using waiting = await rawClient(program.port);
    await waiting.write(get(origin));
    await origin.connected(1);
    await origin.connections[0]!.seen("\r\n\r\n");
    using tunnel = await rawClient(program.port);
    await tunnel.ask(`CONNECT ${origin.authority} HTTP/1.1\r\nHost: ${origin.authority}\r\n\r\n`);
    await tunnel.write("not HTTP at all\r\n");
    await origin.connected(2);
    process.kill(program.pid, "SIGKILL");
    await waiting.gone();
    await tunnel.gone();
    // Nothing that could be taken for an answer.
    expect(waiting.received).toBe("");
    expect(tunnel.unread).toBe("");
    await Promise.all(origin.connections.map((peer) => peer.gone()));
    await eventually("the process to be gone", () => !program.alive);
    await expect(rawClient(program.port)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  test("fault 20: an answer under way breaks off: it does not look whole", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        return false;
      }),
    ]);
    await using program = await startProgram();
    using client = await rawClient(program.port);
    await client.write(get(origin));
    await client.seen("half");
    process.kill(program.pid, "SIGKILL");
    await client.gone();
    expect(client.received).not.toMatch(/0\r\n\r\n$/);
  });

  test("fault 20: one that is started again serves as if nothing had been", async () => {
    await using origin = await scriptedOrigin([ok("first"), ok("second")]);
    const first = await startProgram();
    await askOnce(first.port, get(origin));
    process.kill(first.pid, "SIGKILL");
    await origin.connections[0]!.gone();
    await first[Symbol.asyncDispose]();
    await using second = await startProgram();
    expect((await askOnce(second.port, get(origin))).body.toString()).toBe("second");
  });
});
