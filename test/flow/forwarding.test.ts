import { expect, test } from "vitest";
import { ok, scriptedOrigin } from "../kit/origin.ts";
import { startProxy } from "../kit/proxy.ts";

test("a GET in absolute form reaches the origin in origin form", async () => {
  await using origin = await scriptedOrigin([ok("hello")]);
  await using proxy = await startProxy();
  const answer = await proxy.get(origin, "/a?b=c");
  expect(answer.status).toBe(200);
  expect(answer.body.toString()).toBe("hello");
  expect(origin.received).toBe(`GET /a?b=c HTTP/1.1\r\nHost: ${origin.authority}\r\n\r\n`);
});
