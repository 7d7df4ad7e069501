/** Every bound of `limits`: what is within it passes, what is over it is refused by name. */
import { describe, expect, test } from "vitest";
import { field } from "../kit/message.ts";
import { answer, ok, scriptedOrigin, step } from "../kit/origin.ts";
import { get, startProxy } from "../kit/proxy.ts";
import type { Client } from "../kit/raw-client.ts";

const codeOf = (response: { fields: readonly (readonly [string, string])[] }) =>
  field(response, "outrider-error");

describe("limits.head_bytes", () => {
  test("bounds the request head: 431, whether it ends or not", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({
      policy: { limits: { head_bytes: "1KiB", target_bytes: "512B" } },
    });
    const head = (filler: number): string => get(origin, "/", `X: ${"x".repeat(filler)}\r\n`);
    const room = 1024 - (head(0).length - 2);
    expect((await proxy.ask(head(room))).status).toBe(200);
    for (const request of [head(room + 1), head(5000).slice(0, -4)]) {
      using client = await proxy.client();
      await client.write(request);
      const response = await client.response();
      expect([response.status, codeOf(response)]).toEqual([431, "HEAD_TOO_LARGE"]);
      expect(await client.gone()).toBe("end");
    }
    expect(origin.requests).toHaveLength(1);
  });

  test("bounds the response head: 502, whether it ends or not", async () => {
    const large = (end: string): string => `HTTP/1.1 200 OK\r\nX: ${"x".repeat(2000)}${end}`;
    await using origin = await scriptedOrigin([
      answer(large("\r\nContent-Length: 0\r\n\r\n")),
      answer(large("")),
    ]);
    await using proxy = await startProxy({
      policy: { limits: { head_bytes: "1KiB", target_bytes: "512B" } },
    });
    expect(codeOf(await proxy.get(origin))).toBe("UPSTREAM_INVALID");
    expect(codeOf(await proxy.get(origin))).toBe("UPSTREAM_INVALID");
  });

  test("bounds the trailers of both", async () => {
    const trailers = `0\r\n${`X: ${"x".repeat(100)}\r\n`.repeat(20)}\r\n`;
    await using origin = await scriptedOrigin([
      answer(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n${trailers}`),
    ]);
    await using proxy = await startProxy({
      policy: { limits: { head_bytes: "1KiB", target_bytes: "512B" } },
    });
    using client = await proxy.client();
    await client.write(get(origin));
    expect(await client.closed()).toBe("reset");
    const chunked = `POST http://${origin.authority}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n${trailers}`;
    expect(codeOf(await proxy.ask(chunked))).toBe("BAD_REQUEST");
    expect(origin.requests).toHaveLength(1);
  });
});

test("limits.header_count bounds the fields of both heads", async () => {
  const fields = (count: number): string => "X: y\r\n".repeat(count);
  await using origin = await scriptedOrigin([ok(), ok("x", fields(9))]);
  await using proxy = await startProxy({ policy: { limits: { header_count: 10 } } });
  expect((await proxy.ask(get(origin, "/", fields(9)))).status).toBe(200);
  const refused = await proxy.ask(get(origin, "/", fields(10)));
  expect([refused.status, codeOf(refused)]).toEqual([431, "HEAD_TOO_LARGE"]);
  expect((await proxy.get(origin)).status).toBe(200);
  await using generous = await scriptedOrigin([ok("x", fields(10))]);
  expect(codeOf(await proxy.get(generous))).toBe("UPSTREAM_INVALID");
});

test("limits.target_bytes bounds the target: 414", async () => {
  await using origin = await scriptedOrigin([ok()]);
  await using proxy = await startProxy({ policy: { limits: { target_bytes: "256B" } } });
  const fill = 256 - `http://${origin.authority}/`.length;
  expect((await proxy.get(origin, `/${"x".repeat(fill)}`)).status).toBe(200);
  const refused = await proxy.get(origin, `/${"x".repeat(fill + 1)}`);
  expect([refused.status, codeOf(refused)]).toEqual([414, "TARGET_TOO_LONG"]);
  // A target that never ends is refused as soon as it cannot fit.
  using client = await proxy.client();
  await client.write(`GET http://${origin.authority}/${"x".repeat(20_000)}`);
  expect(codeOf(await client.response())).toBe("TARGET_TOO_LONG");
});

test("limits.connections bounds the application's connections: 503, and the others go on", async () => {
  await using origin = await scriptedOrigin([ok()]);
  await using proxy = await startProxy({ policy: { limits: { connections: 2 } } });
  using first = await proxy.client();
  using second = await proxy.client();
  await first.ask(get(origin));
  await second.ask(get(origin));
  using third = await proxy.client();
  const refused = await third.ask(get(origin));
  expect([refused.status, codeOf(refused)]).toEqual([503, "OVERLOADED"]);
  expect(await third.gone()).toBe("end");
  expect((await first.ask(get(origin))).status).toBe(200);
  first.destroy();
  // Room again, once the proxy has seen the end of the first.
  for (;;) {
    using next = await proxy.client();
    if ((await next.ask(get(origin))).status === 200) break;
  }
  expect((await second.ask(get(origin))).status).toBe(200);
});

test("limits.tunnels bounds the tunnels, those that are being opened included: 503", async () => {
  await using origin = await scriptedOrigin([
    step(async ({ peer }) => {
      await peer.write("HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
      peer.socket.pipe(peer.socket);
      return false;
    }),
  ]);
  await using proxy = await startProxy({ policy: { limits: { tunnels: 2 } } });
  const upgrade = get(origin, "/", "Connection: upgrade\r\nUpgrade: echo\r\n");
  const clients: Client[] = [];
  for (let i = 0; i < 5; i++) clients.push(await proxy.client());
  // All at once: none may slip through while another is being dialled.
  const answers = await Promise.all(clients.map((client) => client.ask(upgrade)));
  expect(answers.map(({ status }) => status).sort()).toEqual([101, 101, 503, 503, 503]);
  expect(codeOf(answers.find(({ status }) => status === 503)!)).toBe("OVERLOADED");
  // An ordinary call needs no tunnel, and a tunnel that ends makes room.
  const refused = clients[answers.findIndex(({ status }) => status === 503)]!;
  const open = clients[answers.findIndex(({ status }) => status === 101)]!;
  open.halfClose();
  await open.gone();
  for (;;) if ((await refused.ask(upgrade)).status === 101) break;
  for (const client of clients) client.destroy();
});
