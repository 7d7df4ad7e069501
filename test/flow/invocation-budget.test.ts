/** What one invocation may spend, through the whole proxy. */
import { describe, expect, test } from "vitest";
import { eventually } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import { ok, scriptedOrigin, silence, step } from "../kit/origin.ts";
import { get, type ProxyOptions, post, startProxy, type TestProxy } from "../kit/proxy.ts";

const withBudget = (per_invocation: { calls?: number; bytes?: string }): ProxyOptions => ({
  policy: { defaults: { limits: { per_invocation } } },
});

const invoke = ({ lifecycle }: TestProxy, id: string) => lifecycle.workStarted(id, Date.now() + 600_000, "");

describe("the budget of an invocation", () => {
  test("refuses the call above it before it is sent; the next invocation has a full one", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy(withBudget({ calls: 2 }));
    invoke(proxy, "a");
    expect([(await proxy.get(origin)).status, (await proxy.get(origin)).status]).toEqual([200, 200]);
    const refused = await proxy.get(origin);
    expect([refused.status, field(refused, "outrider-error")]).toEqual([429, "BUDGET_SPENT"]);
    expect(origin.requests).toHaveLength(2);
    invoke(proxy, "b");
    expect((await proxy.get(origin)).status).toBe(200);
  });

  test("counts a call once, whatever its tries", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n");
        return true;
      }),
      ok("a"),
      ok("b"),
    ]);
    const retry = { max_retries: 1, backoff: { base: "1ms", max: "2ms" } };
    const limits = { per_invocation: { calls: 2 } };
    await using proxy = await startProxy({ policy: { defaults: { limits, retry } } });
    invoke(proxy, "a");
    expect((await proxy.get(origin)).body.toString()).toBe("a");
    expect((await proxy.get(origin)).body.toString()).toBe("b");
  });

  test("refuses in place of an answer that is too long, and no further call is sent", async () => {
    await using origin = await scriptedOrigin([ok("x".repeat(600)), ok("y".repeat(600))]);
    await using proxy = await startProxy(withBudget({ bytes: "1000B" }));
    invoke(proxy, "a");
    expect((await proxy.get(origin)).body).toHaveLength(600);
    for (let i = 0; i < 2; i++) {
      const refused = await proxy.get(origin);
      expect([refused.status, field(refused, "outrider-error")]).toEqual([429, "BUDGET_SPENT"]);
    }
    expect(origin.requests).toHaveLength(2);
  });

  test("breaks an answer of unknown length off, so that the application sees it, and its upstream is told", async () => {
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write(
          `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n258\r\n${"x".repeat(600)}\r\n`,
        );
        await peer.seen("go on");
        return false;
      }, "head"),
    ]);
    await using proxy = await startProxy(withBudget({ bytes: "1000B" }));
    invoke(proxy, "a");
    using client = await proxy.client();
    // A request that is still coming gives the origin its cue, and so nothing here depends on time.
    const head = `POST http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`;
    await client.write(head);
    await client.seen("xxx\r\n");
    await client.write("5\r\ngo on\r\n");
    await origin.connections[0]!.seen("go on");
    await origin.connections[0]!.write(`258\r\n${"x".repeat(600)}\r\n0\r\n\r\n`);
    expect(await client.gone()).toBe("reset");
    expect(client.received).not.toMatch(/\r\n0\r\n\r\n$/);
    await origin.connections[0]!.gone();
  });

  test("breaks a request of unknown length off: the upstream sees no end of it, the application why", async () => {
    await using origin = await scriptedOrigin([{ ...silence(), when: "head" }]);
    await using proxy = await startProxy(withBudget({ bytes: "1000B" }));
    invoke(proxy, "a");
    using client = await proxy.client();
    await client.write(
      `POST http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n258\r\n${"x".repeat(600)}\r\n`,
    );
    await origin.connected(1);
    await eventually("the first piece at the origin", () => origin.received.includes("xxx"));
    await client.write(`258\r\n${"x".repeat(600)}\r\n0\r\n\r\n`);
    const refused = await client.response("POST");
    expect([refused.status, field(refused, "outrider-error")]).toEqual([429, "BUDGET_SPENT"]);
    await origin.connections[0]!.gone();
    expect(origin.received).not.toContain("0\r\n\r\n");
    expect(origin.received.match(/x/g)!.length).toBeLessThan(700);
  });

  test("refuses a request that states too great a length before a byte of it is sent", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy(withBudget({ bytes: "1000B" }));
    invoke(proxy, "a");
    expect((await proxy.ask(post(origin, "x".repeat(1001)))).status).toBe(429);
    expect(origin.connections).toHaveLength(0);
  });

  test("is none on a host without invocations", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy(withBudget({ calls: 1 }));
    proxy.lifecycle.workStarted("", Number.POSITIVE_INFINITY, "");
    for (let i = 0; i < 3; i++) expect((await proxy.ask(get(origin))).status).toBe(200);
  });
});
