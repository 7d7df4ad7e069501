/** A defect behind the listener ends one exchange, never the process and never another exchange. */
import { describe, expect, test } from "vitest";
import { Body } from "../../src/body.ts";
import { systemClock } from "../../src/clock.ts";
import { EgressError } from "../../src/errors.ts";
import { type EgressRequest, EgressResponse, type Outcome, type Send } from "../../src/exchange.ts";
import { bind } from "../../src/listener/bind.ts";
import { Listener } from "../../src/listener/listener.ts";
import { field } from "../kit/message.ts";
import { testConfig } from "../kit/proxy.ts";
import { type Client, rawClient } from "../kit/raw-client.ts";

/** A listener with `send` behind it. */
async function listenerWith(send: Send): Promise<{ client(): Promise<Client> } & AsyncDisposable> {
  const binding = await bind("127.0.0.1", 0);
  const listener = new Listener({
    limits: testConfig().limits,
    idleTimeoutMs: 1000,
    clock: systemClock,
    send,
    admits: () => true,
    interception: null,
    upstreamBufferedBytes: () => 0,
  });
  listener.serve(binding, { kind: "proxy" });
  return {
    client: () => rawClient(binding.port),
    [Symbol.asyncDispose]: () => listener.drain(0),
  };
}

const request = (path: string): string => `GET http://a.test${path} HTTP/1.1\r\nHost: a.test\r\n\r\n`;
const fine = (): EgressResponse => new EgressResponse(200, "OK", "", Body.of("fine"));

describe("a stage that", () => {
  test.each<[string, Send]>([
    [
      "throws",
      () => {
        throw new TypeError("canary");
      },
    ],
    ["rejects with what is no EgressError", () => Promise.reject(new TypeError("canary"))],
    ["rejects with nothing", () => Promise.reject(undefined)],
  ])("%s is answered with INTERNAL, and the connection goes on", async (_, defective) => {
    const outcomes: Outcome[] = [];
    await using listener = await listenerWith((call) => {
      call.settled.on((outcome) => outcomes.push(outcome));
      return call.path === "/bad" ? defective(call) : Promise.resolve(fine());
    });
    using client = await listener.client();
    const response = await client.ask(request("/bad"));
    expect([response.status, field(response, "outrider-error")]).toEqual([500, "INTERNAL"]);
    expect(response.body.toString()).not.toContain("canary");
    expect((await client.ask(request("/good"))).body.toString()).toBe("fine");
    expect(outcomes.map(({ error }) => error?.code ?? null)).toEqual(["INTERNAL", null]);
  });

  test("hands back an answer that cannot be written ends its connection, and no other", async () => {
    const broken = new Proxy(fine(), {
      get: (target, key) => {
        if (key === "fields") throw new TypeError("canary");
        return Reflect.get(target, key);
      },
    });
    const outcomes: Outcome[] = [];
    await using listener = await listenerWith((call) => {
      call.settled.on((outcome) => outcomes.push(outcome));
      return Promise.resolve(call.path === "/bad" ? broken : fine());
    });
    using victim = await listener.client();
    using other = await listener.client();
    await victim.write(request("/bad"));
    expect(await victim.gone()).toBe("reset");
    expect((await other.ask(request("/good"))).body.toString()).toBe("fine");
    expect(outcomes[0]!.error?.code).toBe("INTERNAL");
  });

  test("throws while it takes the request's body ends its connection, and no other", async () => {
    const asked = Promise.withResolvers<void>();
    await using listener = await listenerWith((call: EgressRequest) => {
      if (call.path === "/good") return Promise.resolve(fine());
      asked.resolve();
      call.body.pipe({
        write: () => {
          throw new TypeError("canary");
        },
        end: () => {},
        abort: () => {},
      });
      return new Promise(() => {});
    });
    using victim = await listener.client();
    using other = await listener.client();
    await victim.write(
      "POST http://a.test/bad HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    await asked.promise;
    await victim.write("1\r\nx\r\n");
    expect(await victim.gone()).toBe("reset");
    expect((await other.ask(request("/good"))).body.toString()).toBe("fine");
  });

  test("answers HEAD with a body has only the length of it written", async () => {
    await using listener = await listenerWith(() => Promise.resolve(fine()));
    using client = await listener.client();
    const head = request("/").replace("GET", "HEAD");
    for (let i = 0; i < 2; i++) expect(field(await client.ask(head), "content-length")).toBe("4");
    expect(client.unread).toBe("");
  });
});

test("an answer that comes after the application has gone is thrown away, tunnel and all", async () => {
  const asked = Promise.withResolvers<EgressRequest>();
  const late = Promise.withResolvers<EgressResponse>();
  await using listener = await listenerWith((call) => {
    asked.resolve(call);
    return late.promise;
  });
  const client = await listener.client();
  await client.write(request("/"));
  const call = await asked.promise;
  client.reset();
  const outcome = await new Promise<Outcome>((resolve) => call.settled.on(resolve));
  expect(outcome.error?.code).toBe("CLIENT_GONE");
  expect(call.cancelled.value).toBeInstanceOf(EgressError);
  let cancelled = false;
  const body = new Body(null, { pause: () => {}, resume: () => {}, cancel: () => void (cancelled = true) });
  late.resolve(new EgressResponse(200, "OK", "", body));
  await new Promise((resolve) => setImmediate(resolve));
  expect(cancelled).toBe(true);
});
