/** A mirror through the whole proxy: what the upstream and the mirror received, and what became of the call. */
import { describe, expect, test } from "vitest";
import { eventually, signal } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import { type Origin, ok, reset, type Step, scriptedOrigin, silence, step } from "../kit/origin.ts";
import { get, type ProxyOptions, post, startProxy } from "../kit/proxy.ts";

type Defaults = NonNullable<NonNullable<ProxyOptions["policy"]>["defaults"]>;
type Mirror = Exclude<NonNullable<Defaults["mirror"]>, "off">;

const to = (shadow: Origin, mirror: Partial<Mirror> = {}): Defaults => ({
  mirror: { host: "127.0.0.1", port: shadow.port, percent: 100, ...mirror },
});

/** Answers with `body` once `shadow` has had a request: a call lasts as long as its copy needs. */
const okAfter = (shadow: Origin, body = "real", status = 200): Step =>
  step(async ({ peer }) => {
    await eventually("the copy", () => shadow.requests.length > 0);
    await peer.write(`HTTP/1.1 ${status} x\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    return true;
  });

describe("a mirror", () => {
  test("gets the same request, marked, and its answer is nobody's", async () => {
    await using shadow = await scriptedOrigin([ok("shadow")]);
    await using origin = await scriptedOrigin([okAfter(shadow)]);
    await using proxy = await startProxy({ policy: { defaults: to(shadow) } });
    const response = await proxy.ask(post(origin, "payload", "A: b\r\n", "/x?y=1"));
    expect(response.body.toString()).toBe("real");
    const [copy] = shadow.requests;
    expect(copy!.startLine).toBe("POST /x?y=1 HTTP/1.1");
    expect(copy!.body.toString()).toBe("payload");
    expect([field(copy!, "a"), field(copy!, "host"), field(copy!, "outrider-mirror")]).toEqual([
      "b",
      shadow.authority,
      "1",
    ]);
    expect(field(origin.requests[0]!, "outrider-mirror")).toBeUndefined();
  });

  test("gets a body that streams as a whole", async () => {
    await using shadow = await scriptedOrigin([ok("shadow")]);
    await using origin = await scriptedOrigin([okAfter(shadow)]);
    await using proxy = await startProxy({ policy: { defaults: to(shadow) } });
    const body = "0123456789".repeat(4000);
    expect((await proxy.ask(post(origin, body))).body.toString()).toBe("real");
    expect(origin.requests[0]!.body.toString()).toBe(body);
    expect(shadow.requests[0]!.body.toString()).toBe(body);
    expect(field(shadow.requests[0]!, "content-length")).toBe("40000");
  });

  test("S21: gets no credentials, neither the application's nor those that the policy adds", async () => {
    await using shadow = await scriptedOrigin([ok()]);
    await using origin = await scriptedOrigin([okAfter(shadow)]);
    const rewrite = { set_headers: [{ name: "X-Api-Key", value: "canary-4" }] };
    await using proxy = await startProxy({ policy: { defaults: { ...to(shadow), rewrite } } });
    await proxy.ask(
      get(origin, "/a?X-Amz-Signature=canary-1&b=2", "Authorization: canary-2\r\nCookie: s=canary-3\r\n"),
    );
    expect(origin.received.match(/canary-\d/g)).toHaveLength(4);
    expect(shadow.received).not.toContain("canary");
    expect(shadow.requests[0]!.startLine).toBe("GET /a?b=2 HTTP/1.1");
  });

  test("gets them where the policy says so", async () => {
    await using shadow = await scriptedOrigin([ok()]);
    await using origin = await scriptedOrigin([okAfter(shadow)]);
    await using proxy = await startProxy({ policy: { defaults: to(shadow, { keep_credentials: true }) } });
    await proxy.ask(get(origin, "/", "Authorization: Bearer x\r\n"));
    expect(field(shadow.requests[0]!, "authorization")).toBe("Bearer x");
  });

  test("is asked once for a call that is retried", async () => {
    await using shadow = await scriptedOrigin([silence()]);
    await using origin = await scriptedOrigin([okAfter(shadow, "bad", 503), ok("second")]);
    const retry = { max_retries: 1, backoff: { base: "1ms", max: "1ms" } };
    await using proxy = await startProxy({ policy: { defaults: { ...to(shadow), retry } } });
    expect((await proxy.get(origin)).body.toString()).toBe("second");
    expect(origin.requests).toHaveLength(2);
    expect(shadow.requests).toHaveLength(1);
  });

  test("is not the destination's own upstream, wherever that is", async () => {
    await using shadow = await scriptedOrigin([ok()]);
    await using origin = await scriptedOrigin([okAfter(shadow)]);
    const destination = {
      name: "api",
      hosts: ["api.test"],
      upstream: { host: "127.0.0.1", port: origin.port },
      ...to(shadow),
    };
    await using proxy = await startProxy({ policy: { destinations: [destination] } });
    const response = await proxy.ask("GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n");
    expect(response.body.toString()).toBe("real");
    expect([origin.requests.length, shadow.requests.length]).toEqual([1, 1]);
    expect(field(origin.requests[0]!, "host")).toBe("api.test");
  });
});

describe("S21: a mirror never delays or fails a call", () => {
  test("that is silent: the answer comes, and the copy's connection ends with the call", async () => {
    await using shadow = await scriptedOrigin([silence()]);
    await using origin = await scriptedOrigin([okAfter(shadow)]);
    await using proxy = await startProxy({ policy: { defaults: to(shadow) } });
    expect((await proxy.get(origin)).body.toString()).toBe("real");
    expect(await shadow.connections[0]!.gone()).toBeTypeOf("string");
    expect(shadow.requests).toHaveLength(1);
  });

  test("that resets", async () => {
    await using shadow = await scriptedOrigin([reset()]);
    await using origin = await scriptedOrigin([okAfter(shadow)]);
    await using proxy = await startProxy({ policy: { defaults: to(shadow) } });
    expect((await proxy.get(origin)).body.toString()).toBe("real");
  });

  test("that is not there", async () => {
    const gone = await scriptedOrigin([ok()]);
    const mirror = to(gone);
    await gone[Symbol.asyncDispose]();
    await using origin = await scriptedOrigin([ok("real")]);
    await using proxy = await startProxy({ policy: { defaults: mirror } });
    expect((await proxy.get(origin)).body.toString()).toBe("real");
  });

  test("that answers nonsense, or without an end", async () => {
    for (const bytes of ["nonsense\r\n\r\n", `HTTP/1.1 200 OK\r\n\r\n${"x".repeat(200_000)}`]) {
      const sent = signal();
      await using shadow = await scriptedOrigin([
        step(async ({ peer }) => {
          await peer.write(bytes);
          sent.give();
          return false;
        }),
      ]);
      await using origin = await scriptedOrigin([
        step(async ({ peer }) => {
          await sent.given;
          await shadow.connections[0]!.gone();
          await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nreal");
          return true;
        }),
      ]);
      await using proxy = await startProxy({ policy: { defaults: to(shadow) } });
      expect((await proxy.get(origin)).body.toString()).toBe("real");
    }
  });

  test("whose address the guard refuses: it is not dialled", async () => {
    await using origin = await scriptedOrigin([ok("real")]);
    let asked = 0;
    await using proxy = await startProxy({
      policy: { defaults: { mirror: { host: "shadow.test", port: 80, percent: 100 } } },
      lookup: async () => {
        asked += 1;
        return [{ address: "169.254.169.254", family: 4 }];
      },
    });
    expect((await proxy.get(origin)).body.toString()).toBe("real");
    await eventually("the look-up", () => asked === 1);
    expect(proxy.proxy.upstream.stats().dialled).toBe(2);
    expect(proxy.proxy.upstream.stats().open).toBe(1);
  });

  test("a long answer passes to the byte while it is compared", async () => {
    const body = "0123456789abcdef".repeat(20_000);
    await using shadow = await scriptedOrigin([ok("short")]);
    await using origin = await scriptedOrigin([okAfter(shadow, body)]);
    await using proxy = await startProxy({ policy: { defaults: to(shadow) } });
    expect((await proxy.get(origin)).body.toString()).toBe(body);
  });
});

describe("not mirrored is", () => {
  test.each([
    ["that states its length", (body: string) => `Content-Length: ${body.length}\r\n\r\n${body}`],
    [
      "that comes in chunks",
      (body: string) => `Transfer-Encoding: chunked\r\n\r\n65\r\n${body}\r\n0\r\n\r\n`,
    ],
  ])("a body %s and is longer than the policy allows", async (_, framed) => {
    await using shadow = await scriptedOrigin([ok()]);
    await using origin = await scriptedOrigin([ok("real")]);
    await using proxy = await startProxy({ policy: { defaults: to(shadow, { body_bytes: "100B" }) } });
    const head = `POST http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\n`;
    expect((await proxy.ask(head + framed("x".repeat(101)))).body.toString()).toBe("real");
    expect(origin.requests[0]!.body).toHaveLength(101);
    expect(shadow.connections).toHaveLength(0);
  });

  test("a call that is a copy itself", async () => {
    await using shadow = await scriptedOrigin([ok()]);
    await using origin = await scriptedOrigin([ok("real")]);
    await using proxy = await startProxy({ policy: { defaults: to(shadow) } });
    await proxy.ask(get(origin, "/", "Outrider-Mirror: 1\r\n"));
    expect(shadow.connections).toHaveLength(0);
  });
});

test("a copy is no call of the application's: it is counted nowhere but in the comparison", async () => {
  await using shadow = await scriptedOrigin([ok()]);
  await using origin = await scriptedOrigin([
    step(async ({ peer }) => {
      await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
      // The copy's connection is kept when its answer has been read: only then does the call end.
      await eventually("the copy's answer", () => proxy.proxy.upstream.stats().idle === 1);
      await peer.write("ok");
      return true;
    }),
  ]);
  await using proxy = await startProxy({ policy: { defaults: to(shadow) } });
  await proxy.get(origin);
  await eventually("the call to be over", () => proxy.proxy.telemetry.metrics().openCalls === 0);
  const counted = proxy.proxy.telemetry.metrics().destinations;
  expect(counted).toHaveLength(1);
  expect(counted[0]).toMatchObject({ calls: { "2xx": 1 }, attempts: 1, connects: 1 });
  expect(counted[0]!.stages.mirrored).toMatchObject({ same: 1 });
});
