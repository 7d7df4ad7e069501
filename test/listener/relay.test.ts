/** A defect behind a port of `protocol: tcp` ends one connection, never the process and never another connection. */
import { expect, test } from "vitest";
import { Body } from "../../src/body.ts";
import { systemClock } from "../../src/clock.ts";
import { EgressResponse, type Outcome, type Send } from "../../src/exchange.ts";
import { bind } from "../../src/listener/bind.ts";
import { Listener } from "../../src/listener/listener.ts";
import { eventually } from "../kit/eventually.ts";
import { testConfig } from "../kit/proxy.ts";
import { rawClient } from "../kit/raw-client.ts";

test.each<[string, Send]>([
  [
    "throws",
    () => {
      throw new TypeError("canary");
    },
  ],
  ["rejects with what is no EgressError", () => Promise.reject(new TypeError("canary"))],
  ["answers without a tunnel", async () => new EgressResponse(200, "OK", "", Body.of("no tunnel"))],
])("a stage that %s resets the connection, and the next one is served", async (_what, send) => {
  const binding = await bind("127.0.0.1", 0);
  const outcomes: Outcome[] = [];
  const listener = new Listener({
    limits: testConfig().limits,
    idleTimeoutMs: 1000,
    clock: systemClock,
    send: (request) => {
      request.settled.on((outcome) => outcomes.push(outcome));
      return send(request);
    },
    admits: () => true,
    interception: null,
    upstreamBufferedBytes: () => 0,
  });
  listener.serve(binding, { kind: "tcp", destination: "db", host: "db.test", port: 5432 });
  for (let connection = 1; connection <= 2; connection++) {
    // The reset may be here before `connect` has been told.
    const client = await rawClient(binding.port).catch((error: NodeJS.ErrnoException) => error.code);
    if (typeof client === "object") expect(await client.gone()).toBe("reset");
    else expect(client).toBe("ECONNRESET");
    expect(outcomes.map(({ error }) => error?.code)).toEqual(Array(connection).fill("INTERNAL"));
  }
  await eventually("both to be closed", () => listener.open().connections === 0);
  expect(listener.open().tunnels).toBe(0);
  await listener.drain(0);
});
