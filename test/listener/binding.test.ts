/** Which sockets a policy asks for, what is said when one cannot be had, and connections that come before anybody serves them. */
import { once } from "node:events";
import { connect, createServer, type Server } from "node:net";
import { describe, expect, test } from "vitest";
import type { DestinationFile } from "../../src/config/schema.ts";
import { bind } from "../../src/listener/bind.ts";
import { BindError, bindAll, listenPlan } from "../../src/listener/plan.ts";
import { eventually } from "../kit/eventually.ts";
import { testConfig } from "../kit/proxy.ts";
import { rawClient } from "../kit/raw-client.ts";

const destination = (more: Partial<DestinationFile>): DestinationFile => ({
  name: "api",
  hosts: ["api.test"],
  local_port: 4141,
  ...more,
});

async function taken(): Promise<{ port: number; server: Server }> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  return { port: (server.address() as { port: number }).port, server };
}

describe("a local port stands for", () => {
  test.each<[string, Partial<DestinationFile>, object]>([
    ["the exact host, port 80", {}, { scheme: "http", host: "api.test", port: 80 }],
    [
      "the exact host over TLS, port 443",
      { tls: { originate: true } },
      { scheme: "https", host: "api.test", port: 443 },
    ],
    [
      "the exact host at another address",
      { upstream: { host: "10.0.0.1", port: 8443 }, tls: { originate: true } },
      { scheme: "https", host: "api.test", port: 8443 },
    ],
    [
      "the first exact host of several",
      { hosts: ["*.test", "b.test"], upstream: { host: "u.test" } },
      { scheme: "http", host: "b.test", port: 80 },
    ],
    [
      "its upstream where all hosts are patterns",
      { hosts: ["*.test"], upstream: { host: "u.test", port: 81 } },
      { scheme: "http", host: "u.test", port: 81 },
    ],
  ])("%s", (_what, more, role) => {
    const plan = listenPlan(testConfig({ destinations: [destination(more)] }));
    expect(plan).toHaveLength(2);
    expect(plan[0]).toEqual({ key: "listen.port", port: 4140, role: { kind: "proxy" } });
    expect(plan[1]).toMatchObject({ key: "destinations.api.local_port", port: 4141, role });
  });

  test("nothing where the file names none", () => {
    const plain: DestinationFile = { name: "api", hosts: ["api.test"] };
    expect(listenPlan(testConfig({ destinations: [plain] }))).toHaveLength(1);
  });
});

describe("a port that is taken", () => {
  test("is named with its key, and what to do; those that were bound before it are free again", async () => {
    const free = await bind("127.0.0.1", 0);
    await free.close();
    const { port, server } = await taken();
    const config = testConfig({
      listen: { port: free.port },
      destinations: [destination({ local_port: port })],
    });
    await expect(bindAll(config)).rejects.toThrow(BindError);
    await expect(bindAll(config)).rejects.toThrow(
      `destinations.api.local_port: 127.0.0.1:${port}: another program listens there; stop it or choose another port`,
    );
    const again = await bind("127.0.0.1", free.port);
    await again.close();
    server.close();
  });

  test("as the proxy's own may be any free one", async () => {
    const { port, server } = await taken();
    await expect(bindAll(testConfig({ listen: { port } }))).rejects.toThrow(
      `listen.port: 127.0.0.1:${port}: another program listens there; stop it or choose another port (0 takes a free one)`,
    );
    server.close();
  });
});

test("an address that this machine does not have is named with its key", async () => {
  // 192.0.2.0/24 is for documentation (RFC 5737): no machine has an address of it.
  const config = testConfig({ listen: { port: 0, unsafe_bind: "192.0.2.1" } });
  await expect(bindAll(config)).rejects.toThrow(
    "this machine has no such address; correct listen.unsafe_bind",
  );
});

test("connections that come before anybody serves are served in the order in which they came", async () => {
  const binding = await bind("127.0.0.1", 0);
  const clients = [
    await rawClient(binding.port),
    await rawClient(binding.port),
    await rawClient(binding.port),
  ];
  for (const client of clients) await client.write("hello");
  // Gone before it could be served: it is not handed over.
  clients[1]!.reset();
  await clients[1]!.closed();
  const ports: (number | undefined)[] = [];
  const late = connect(binding.port, "127.0.0.1");
  await once(late, "connect");
  await new Promise((resolve) => setTimeout(resolve, 20));
  binding.serve((socket) => {
    ports.push(socket.remotePort);
    socket.on("error", () => {});
    socket.pipe(socket);
  });
  await eventually("the connections to be handed over", () => ports.includes(late.localPort));
  expect(ports.filter((port) => port !== clients[1]!.socket.localPort)).toEqual([
    clients[0]!.socket.localPort,
    clients[2]!.socket.localPort,
    late.localPort,
  ]);
  expect((await clients[0]!.take(5)).toString()).toBe("hello");
  expect((await clients[2]!.take(5)).toString()).toBe("hello");
  for (const client of clients) client.destroy();
  late.destroy();
  await binding.close();
});
