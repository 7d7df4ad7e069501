/** `outrider run --admin`: health and metrics, for this machine only. */
import { request } from "node:http";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Admin, plainPage, startAdmin } from "../../src/cli/admin.ts";

let admin: Admin;
let draining = false;

beforeAll(async () => {
  admin = await startAdmin(0, {
    "/healthz": () => plainPage(200, "ok"),
    "/readyz": () => plainPage(draining ? 503 : 200, draining ? "draining" : "busy"),
    "/metrics": () => ({ status: 200, type: "text/plain; version=0.0.4", body: "outrider_calls_total 1\n" }),
  });
});
afterAll(() => admin.close());

async function ask(path: string, options: { method?: string; host?: string } = {}) {
  const host = options.host ?? `127.0.0.1:${admin.port}`;
  return new Promise<{ status: number; body: string; type: string }>((resolve, reject) => {
    request(
      { port: admin.port, path, method: options.method ?? "GET", headers: { host } },
      async (response) => {
        const body = await text(response);
        resolve({ status: response.statusCode!, body, type: response.headers["content-type"]! });
      },
    )
      .on("error", reject)
      .end();
  });
}

test("answers health, readiness and metrics, each asked for anew", async () => {
  expect(await ask("/healthz")).toMatchObject({ status: 200, body: "ok\n" });
  expect(await ask("/readyz")).toMatchObject({ status: 200, body: "busy\n" });
  draining = true;
  expect(await ask("/readyz?verbose")).toMatchObject({ status: 503, body: "draining\n" });
  expect(await ask("/metrics")).toMatchObject({ type: "text/plain; version=0.0.4" });
});

test.each(["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "localhost.evil.example"])(
  "refuses the Host %j, which a page in a browser could bring (DNS rebinding)",
  async (host) => {
    expect(await ask("/metrics", { host })).toMatchObject({ status: 421 });
  },
);

test.each(["POST", "PUT", "DELETE"])("changes nothing: %s is not allowed", async (method) => {
  expect(await ask("/healthz", { method })).toMatchObject({ status: 405 });
});

test.each(["/", "/__proto__", "/constructor", "/healthz/x"])("knows no path %j", async (path) => {
  expect(await ask(path)).toMatchObject({ status: 404 });
});
