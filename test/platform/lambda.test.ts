/** The built layer in the emulator: what the function, its upstreams and the operator see. */
import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { answer, type Origin, ok, scriptedOrigin, silence } from "../kit/origin.ts";
import { startFunction, UPSTREAM_HOST } from "./kit/function.ts";

const upstream = (...script: Parameters<typeof scriptedOrigin>[0]): Promise<Origin> =>
  scriptedOrigin(script, { host: UPSTREAM_HOST });

const url = (origin: Origin, path = "/", scheme = "http"): string => `${scheme}://${origin.authority}${path}`;

describe("a Node function that knows nothing of Outrider", () => {
  test("calls through the proxy, with fetch and with node:http", async () => {
    await using origin = await upstream(ok("hello"));
    await using subject = await startFunction();
    const results = await subject.call(
      { url: url(origin, "/by-fetch") },
      { url: url(origin, "/by-http"), by: "http", method: "POST", body: "x=1" },
    );
    expect(results).toEqual([
      { status: 200, code: null, body: "hello" },
      { status: 200, code: null, body: "hello" },
    ]);
    console.log(subject.entries());
  });
});
