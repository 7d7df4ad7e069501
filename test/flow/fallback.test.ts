/** An answer of the policy's own in place of a failure, through the whole proxy. */
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { passUntil } from "../kit/eventually.ts";
import { callHttp2 } from "../kit/http2-client.ts";
import { scene } from "../kit/http2-scene.ts";
import { field } from "../kit/message.ts";
import { answer, ok, reset, scriptedOrigin, silence } from "../kit/origin.ts";
import { get, type ProxyOptions, post, startProxy } from "../kit/proxy.ts";

type Defaults = NonNullable<NonNullable<ProxyOptions["policy"]>["defaults"]>;

const FALLBACK = { status: 200, body: '{"prices":[]}' };
const withFallback = (more: Defaults = {}): ProxyOptions => ({
  policy: { defaults: { fallback: FALLBACK, ...more } },
});

describe("the fallback", () => {
  test("answers when the upstream breaks off, and the next call reaches it again", async () => {
    await using origin = await scriptedOrigin([reset(), ok("real")]);
    await using proxy = await startProxy(withFallback());
    const answered = await proxy.ask(post(origin, "order"));
    expect([answered.status, answered.body.toString()]).toEqual([200, '{"prices":[]}']);
    expect(field(answered, "outrider-served")).toBe("fallback");
    expect(field(answered, "content-type")).toBe("application/json");
    const real = await proxy.get(origin);
    expect([real.body.toString(), field(real, "outrider-served")]).toEqual(["real", undefined]);
  });

  test("answers for a status that the policy names, on a connection that serves on", async () => {
    await using origin = await scriptedOrigin([
      answer("HTTP/1.1 503 x\r\nContent-Length: 3\r\n\r\nbad"),
      ok("real"),
    ]);
    await using proxy = await startProxy(withFallback());
    using client = await proxy.client();
    expect((await client.ask(get(origin))).body.toString()).toBe('{"prices":[]}');
    expect((await client.ask(get(origin))).body.toString()).toBe("real");
    expect(origin.connections).toHaveLength(1);
  });

  test("comes after the retries: the upstream has had its tries", async () => {
    await using origin = await scriptedOrigin([reset()]);
    const retry = { max_retries: 2, backoff: { base: "1ms", max: "2ms" }, budget: { floor: 10 } };
    await using proxy = await startProxy(withFallback({ retry }));
    expect((await proxy.get(origin)).body.toString()).toBe('{"prices":[]}');
    expect(origin.requests).toHaveLength(3);
  });

  test("answers for a call that has no time left", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([silence()]);
    await using proxy = await startProxy({ ...withFallback({ timeout: "2s" }), clock });
    const { value } = await passUntil(clock, proxy.get(origin), { stepMs: 100 });
    expect([value.status, field(value, "outrider-served")]).toEqual([200, "fallback"]);
    await origin.connections[0]!.gone();
  });

  test("answers for a call that a limit refuses", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({ ...withFallback({ limits: { rate: "1/s", burst: 1 } }), clock });
    await proxy.get(origin);
    expect(field(await proxy.get(origin), "outrider-served")).toBe("fallback");
    expect(origin.requests).toHaveLength(1);
  });

  test("describes itself to HEAD", async () => {
    await using origin = await scriptedOrigin([reset()]);
    await using proxy = await startProxy(withFallback());
    const described = await proxy.ask(get(origin).replace("GET", "HEAD"));
    expect([described.status, field(described, "content-length")]).toEqual([200, "13"]);
  });

  test("answers in HTTP/2 as well", async () => {
    await using origin = await scriptedOrigin([reset()]);
    await using at = await scene("the proxy's own port", origin, { more: { fallback: FALLBACK } });
    const answered = await callHttp2(at.session, { ":path": "/" });
    expect(answered).toMatchObject({ status: 200, body: '{"prices":[]}', code: 0 });
    expect(answered.headers["outrider-served"]).toBe("fallback");
  });

  test("leaves gRPC its own errors", async () => {
    await using origin = await scriptedOrigin([reset()]);
    await using at = await scene("the proxy's own port", origin, { more: { fallback: FALLBACK } });
    const call = { ":method": "POST", ":path": "/a.B/C", "content-type": "application/grpc", te: "trailers" };
    const refused = await callHttp2(at.session, call, "x");
    expect([refused.headers["outrider-served"], refused.headers["grpc-status"]]).toEqual([undefined, "14"]);
  });

  test("never hides that an answer broke off once it had begun", async () => {
    await using origin = await scriptedOrigin([reset("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")]);
    await using proxy = await startProxy(withFallback());
    using client = await proxy.client();
    await client.write(get(origin));
    expect(await client.gone()).toBe("reset");
    expect(client.received).not.toContain("prices");
  });

  test("never answers what the access rules refuse", async () => {
    await using proxy = await startProxy({
      policy: {
        defaults: { fallback: FALLBACK },
        destinations: [
          { name: "metadata", hosts: ["meta.test"], upstream: { host: "169.254.169.254", port: 80 } },
        ],
      },
    });
    const refused = await proxy.ask("GET http://meta.test/ HTTP/1.1\r\nHost: meta.test\r\n\r\n");
    expect([refused.status, field(refused, "outrider-error")]).toEqual([403, "ADDRESS_DENIED"]);
  });

  test("never stands in for a tunnel", async () => {
    await using proxy = await startProxy({
      policy: {
        defaults: { fallback: FALLBACK },
        destinations: [
          { name: "metadata", hosts: ["meta.test"], upstream: { host: "169.254.169.254", port: 80 } },
        ],
      },
    });
    const refused = await proxy.ask("CONNECT meta.test:443 HTTP/1.1\r\nHost: meta.test:443\r\n\r\n");
    expect([refused.status, field(refused, "outrider-served")]).toEqual([403, undefined]);
  });
});
