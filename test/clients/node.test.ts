/** Node's own clients and undici, as real programs behind the wrapper. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { program, type Scene, startScene } from "./kit.ts";
import { UPSTREAM_ADDRESS } from "./upstream.ts";
import { countedCalls, rightCalls, usualCalls } from "./usual-calls.ts";

let scene: Scene;
beforeAll(async () => {
  scene = await startScene();
});
afterAll(() => scene[Symbol.asyncDispose]());

const CLIENTS = ["fetch", "node-https", "undici"] as const;

describe.concurrent("a Node.js program with", () => {
  test.each(CLIENTS)("%s is governed without knowing of the proxy", async (client) => {
    const account = await usualCalls(scene, client, [process.execPath, program(`${client}.ts`)]);
    expect(account).toEqual(rightCalls("1.1"));
  });

  test("an http.Agent of its own goes around the proxy, with the global one through it", async () => {
    const url = `http://${UPSTREAM_ADDRESS}:${scene.plain.port}/agent`;
    const { code, stdout } = await scene.run([process.execPath, program("custom-agent.ts"), url]);
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^global 200 .+\ncustom 200 .+\n$/)]);
    expect(scene.plain.requestsOf("agent")).toMatchObject([
      { path: "/agent/global", traceparent: expect.stringMatching(/^00-/) },
      { path: "/agent/custom", traceparent: undefined },
    ]);
  });
});

test("every call of a Node.js program was counted", async () => {
  const governed = CLIENTS.length * 3;
  expect(await countedCalls(scene)).toEqual({
    counted: governed,
    seen: governed,
    tunnels: CLIENTS.length,
    failed: 0,
  });
});
