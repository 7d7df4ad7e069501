/** Targets that lead where nobody may go: judged by what was dialled, which is nothing. */
import { describe, expect, test } from "vitest";
import { field } from "../kit/message.ts";
import { ok, scriptedOrigin } from "../kit/origin.ts";
import { get, startProxy } from "../kit/proxy.ts";

const getFrom = (host: string, port = 80): string =>
  `GET http://${host}:${port}/latest/meta-data/ HTTP/1.1\r\nHost: ${host}:${port}\r\n\r\n`;

describe("S2: a name is never dialled when it resolves to", () => {
  test.each([
    [["169.254.169.254"]],
    [["fd00:ec2::254"]],
    [["169.254.170.2"]],
    [["::ffff:169.254.169.254"]],
    [["64:ff9b::a9fe:a9fe"]],
    [["0.0.0.0"]],
    [["100.100.100.200"]],
    // One forbidden answer among good ones is a rebinding attempt, not a choice.
    [["127.0.0.1", "169.254.169.254"]],
    [["169.254.169.254", "127.0.0.1"]],
  ])("%j", async (addresses) => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({
      lookup: async () => addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
    });
    const response = await proxy.ask(getFrom("innocent.test", origin.port));
    expect([response.status, field(response, "outrider-error")]).toEqual([403, "ADDRESS_DENIED"]);
    expect(response.body.toString()).not.toContain("169.254");
    expect(origin.connections).toHaveLength(0);
    expect(proxy.proxy.upstream.stats().open).toBe(0);
  });
});

test("S2: every new connection asks again: a name that moves to the metadata service is refused", async () => {
  await using origin = await scriptedOrigin([ok("first")]);
  const answers = ["127.0.0.1", "169.254.169.254"];
  let asked = 0;
  await using proxy = await startProxy({
    lookup: async () => [{ address: answers[asked++] ?? "169.254.169.254", family: 4 }],
  });
  expect((await proxy.ask(getFrom("moving.test", origin.port))).body.toString()).toBe("first");
  // What is pooled stays with the address that was admitted; without it the name is looked up anew.
  proxy.proxy.upstream.thawed(Number.POSITIVE_INFINITY);
  const second = await proxy.ask(getFrom("moving.test", origin.port));
  expect(field(second, "outrider-error")).toBe("ADDRESS_DENIED");
  expect(asked).toBe(2);
});

describe("S2: written out, without a look-up", () => {
  test.each([
    ["169.254.169.254", "ADDRESS_DENIED"],
    ["[::ffff:169.254.169.254]", "ADDRESS_DENIED"],
    ["[::ffff:a9fe:a9fe]", "ADDRESS_DENIED"],
    ["[64:ff9b::169.254.169.254]", "ADDRESS_DENIED"],
    ["[fd00:ec2::254]", "ADDRESS_DENIED"],
    ["169.254.169.254.", "ADDRESS_DENIED"],
    ["2852039166", "BAD_TARGET"],
    ["0xa9fea9fe", "BAD_TARGET"],
    ["0251.0376.0251.0376", "BAD_TARGET"],
    ["169.254.43518", "BAD_TARGET"],
    ["[169.254.169.254]", "BAD_TARGET"],
    ["[fe80::1%25eth0]", "BAD_TARGET"],
  ])("%s is refused", async (host, code) => {
    let lookedUp = 0;
    await using proxy = await startProxy({
      lookup: async () => {
        lookedUp += 1;
        return [{ address: "127.0.0.1", family: 4 }];
      },
    });
    expect(field(await proxy.ask(getFrom(host)), "outrider-error")).toBe(code);
    expect(lookedUp).toBe(0);
    expect(proxy.proxy.upstream.stats().open).toBe(0);
  });
});

test("S2: the proxy's own ports are never dialled, not even where loopback is allowed", async () => {
  await using proxy = await startProxy();
  const response = await proxy.ask(getFrom("127.0.0.1", proxy.port));
  expect([response.status, field(response, "outrider-error")]).toEqual([403, "ADDRESS_DENIED"]);
});

test("S2: a tunnel is judged by the same rules", async () => {
  await using proxy = await startProxy({ lookup: async () => [{ address: "169.254.169.254", family: 4 }] });
  for (const host of ["innocent.test", "169.254.169.254"]) {
    const response = await proxy.ask(`CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\n\r\n`);
    expect([response.status, field(response, "outrider-error")]).toEqual([403, "ADDRESS_DENIED"]);
  }
});

test("S2: the refusal is no fault of the connection, which serves the next call", async () => {
  await using origin = await scriptedOrigin([ok("fine")]);
  await using proxy = await startProxy();
  using client = await proxy.client();
  expect((await client.ask(getFrom("169.254.169.254"))).status).toBe(403);
  expect((await client.ask(get(origin))).body.toString()).toBe("fine");
});
