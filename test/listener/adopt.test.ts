/** Accepted connections are read through one shared buffer, or by events where Node does not give their handle away. */
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { adopt } from "../../src/listener/adopt.ts";
import { eventually } from "../kit/eventually.ts";
import { rawClient } from "../kit/raw-client.ts";

describe.each([
  ["through the shared buffer", false],
  ["by events", true],
])("a connection that is read %s", (_how, withoutHandle) => {
  /** A client, and what the adopted side of its connection has read. */
  async function adopted(more: (bytes: Buffer) => boolean) {
    const read: string[] = [];
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const accepted = once(server, "connection");
    const client = await rawClient((server.address() as { port: number }).port);
    const [socket] = (await accepted) as [Socket];
    if (withoutHandle) hideHandle(socket);
    const end = adopt(socket, 64 * 1024, (bytes) => {
      read.push(bytes.toString("latin1"));
      return more(bytes);
    });
    end.on("error", () => {});
    server.close();
    return { client, end, read: () => read.join("") };
  }

  test("arrives, is written to, and ends on either side by itself", async () => {
    const { client, end, read } = await adopted(() => true);
    end.resume();
    await client.write("question");
    client.halfClose();
    await once(end, "end");
    expect(read()).toBe("question");
    end.end("answer");
    expect((await client.rest()).toString()).toBe("answer");
    expect(client.parting).toBe("end");
  });

  test("is not read before it is resumed, nor after it asked for a pause", async () => {
    const { client, end, read } = await adopted(() => false);
    await client.write("one");
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(read()).toBe("");
    end.resume();
    await eventually("the first read", () => read() === "one");
    await client.write("two");
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(read()).toBe("one");
    end.resume();
    await eventually("the second read", () => read() === "onetwo");
    client.destroy();
    end.destroy();
  });

  test("that is reset closes", async () => {
    const { client, end } = await adopted(() => true);
    end.resume();
    const closed = new Promise((resolve) => end.once("close", resolve));
    client.reset();
    expect(await closed).toBe(true);
  });
});

/** As a Node would look like that keeps its handles to itself. */
function hideHandle(socket: Socket): void {
  const handled = socket as unknown as { _handle: object | null };
  const { _handle } = handled;
  let asked = 0;
  Object.defineProperty(socket, "_handle", {
    configurable: true,
    // Only the first to ask is `adopt`; everybody after it is Node itself.
    get: () => (asked++ === 0 ? undefined : _handle),
    set: (value: object | null) =>
      Object.defineProperty(socket, "_handle", { configurable: true, writable: true, value }),
  });
}
