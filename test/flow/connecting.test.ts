/** Getting a connection to an origin: every way in which that fails has a name, and one dead address does not hide the others. */
import { type ChildProcess, spawn } from "node:child_process";
import { connect, type Socket } from "node:net";
import { expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { passUntil } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import { ok, scriptedOrigin, speakFirst } from "../kit/origin.ts";
import { startProxy } from "../kit/proxy.ts";

const getFrom = (host: string, port: number): string =>
  `GET http://${host}:${port}/ HTTP/1.1\r\nHost: x\r\n\r\n`;

test("an address that refuses: 502 CONNECT_FAILED", async () => {
  const gone = await scriptedOrigin([ok()]);
  const { port } = gone;
  await gone[Symbol.asyncDispose]();
  await using proxy = await startProxy();
  const response = await proxy.ask(getFrom("127.0.0.1", port));
  expect([response.status, field(response, "outrider-error")]).toEqual([502, "CONNECT_FAILED"]);
});

test("of several addresses the first that accepts is taken", async () => {
  await using origin = await scriptedOrigin([ok("here")]);
  await using proxy = await startProxy({
    lookup: async () => [
      { address: "::1", family: 6 },
      { address: "127.0.0.1", family: 4 },
    ],
  });
  const response = await proxy.ask(getFrom("both.test", origin.port));
  expect(response.body.toString()).toBe("here");
});

test.each([
  ["does not exist", () => Promise.reject(Object.assign(new Error("no"), { code: "ENOTFOUND" }))],
  ["has no address", async () => []],
])("a name that %s: 502 DNS_FAILED", async (_, lookup) => {
  await using proxy = await startProxy({ lookup });
  const response = await proxy.ask(getFrom("nowhere.test", 80));
  expect([response.status, field(response, "outrider-error")]).toEqual([502, "DNS_FAILED"]);
});

test("calls that come at the same time share one look-up, and the next call asks anew", async () => {
  await using origin = await scriptedOrigin([ok()]);
  let asked = 0;
  await using proxy = await startProxy({
    lookup: async () => {
      asked += 1;
      await new Promise((resolve) => setTimeout(resolve, 20));
      return [{ address: "127.0.0.1", family: 4 }];
    },
  });
  const answers = await Promise.all(
    Array.from({ length: 5 }, () => proxy.ask(getFrom("shared.test", origin.port))),
  );
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
  expect(asked).toBe(1);
  proxy.proxy.upstream.thawed(Number.POSITIVE_INFINITY);
  await proxy.ask(getFrom("shared.test", origin.port));
  expect(asked).toBe(2);
});

test("an origin that speaks plain HTTP where TLS is wanted: 502 TLS_FAILED, and it gets nothing of the call", async () => {
  await using origin = await scriptedOrigin([speakFirst("HTTP/1.1 400 Bad Request\r\n\r\n")]);
  await using proxy = await startProxy();
  const response = await proxy.ask(
    `GET https://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nAuthorization: secret\r\n\r\n`,
  );
  expect([response.status, field(response, "outrider-error")]).toEqual([502, "TLS_FAILED"]);
  expect(origin.received).not.toContain("secret");
});

/** A listening process that is stopped, its queue of connections full: the kernel drops what still comes, as a dead host would. */
async function deafServer(): Promise<{ port: number } & AsyncDisposable> {
  const script =
    'const s = require("net").createServer(); s.listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => console.log(s.address().port));';
  const child: ChildProcess = spawn(process.execPath, ["-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const port = await new Promise<number>((resolve) =>
    child.stdout!.once("data", (text) => resolve(Number(text))),
  );
  child.kill("SIGSTOP");
  const fillers: Socket[] = [];
  for (let i = 0; i < 8; i++) {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.on("error", () => {});
    fillers.push(socket);
  }
  // The queue is full when a connection is not made any more.
  await new Promise((resolve) => setTimeout(resolve, 200));
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of fillers) socket.destroy();
      const exited = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await exited;
    },
  };
}

test.skipIf(process.platform !== "linux")(
  "an address that does not answer: 504 CONNECT_TIMEOUT after connect_timeout (how a full queue drops connections is Linux's way)",
  async () => {
    const clock = new VirtualClock();
    await using deaf = await deafServer();
    await using proxy = await startProxy({ clock });
    using client = await proxy.client();
    await client.write(getFrom("127.0.0.1", deaf.port));
    const { value, elapsedMs } = await passUntil(clock, client.response(), { stepMs: 100 });
    expect([value.status, field(value, "outrider-error")]).toEqual([504, "CONNECT_TIMEOUT"]);
    expect(elapsedMs).toBeGreaterThanOrEqual(2000);
  },
);
