/**
 * For the listener. An application that gives a call up (`AbortController`, `request.destroy()`, a client's timeout) closes its
 * connection, and the kernel sends an end (FIN), not a reset, because nothing unread is left. The proxy takes that end for half of
 * a connection whose application still wants its answer, and lets the upstream work until it answers or `idle_timeout` passes: the
 * slot of a concurrency limit, the connection and the upstream's work are held for nobody. What only the next write would tell
 * (the reset that answers it), a call that waits never learns.
 *
 * Node's own server, nginx and Envoy take the end of an HTTP/1.1 connection behind a request for the client's leaving.
 */
import { expect, test } from "vitest";
import { eventually } from "../kit/eventually.ts";
import { scriptedOrigin, silence } from "../kit/origin.ts";
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
