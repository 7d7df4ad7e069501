/**
 * An application that gives a call up (`AbortController`, `request.destroy()`, a client's timeout) closes its connection, and the
 * kernel sends an end (FIN), not a reset, because nothing unread is left. The proxy took that end for half of a connection whose
 * application still wants its answer, and let the upstream work until it answered: the slot of a concurrency limit, the connection and
 * the upstream's work were held for nobody.
 */
import { expect, test } from "vitest";
import { eventually, signal } from "../kit/eventually.ts";
import { scriptedOrigin, silence, step } from "../kit/origin.ts";
import { get, startProxy } from "../kit/proxy.ts";

test("a call whose application has closed its connection is cancelled at the upstream", async () => {
  await using origin = await scriptedOrigin([silence()]);
  await using proxy = await startProxy();
  const client = await proxy.client();
  await client.write(get(origin));
  await origin.connected(1);
  await origin.connections[0]!.seen("\r\n\r\n");
  // As a client's abort does: both directions, without ceremony.
  client.destroy();
  await origin.connections[0]!.gone();
  await eventually("the call to be over", () => proxy.proxy.telemetry.metrics().openCalls === 0);
  const errors = proxy.proxy.telemetry.metrics().destinations.flatMap((one) => one.errors);
  expect(errors.map(({ code }) => code)).toEqual(["CLIENT_GONE"]);
});

test("one whose application has ended its side and listens gets its answer", async () => {
  const { given, give } = signal();
  const later = step(async ({ peer }) => {
    await given;
    await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    return true;
  });
  await using origin = await scriptedOrigin([later]);
  await using proxy = await startProxy();
  const client = await proxy.client();
  await client.write(get(origin));
  client.halfClose();
  // It is asked twice whether it is there; what follows is its answer all the same.
  await client.until("HTTP/1.1 100 Continue\r\n\r\n");
  await client.until("HTTP/1.1 100 Continue\r\n\r\n");
  give();
  expect((await client.response()).body.toString()).toBe("ok");
  expect(client.received).not.toContain("100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100");
});
