/** Node's own clients and undici, as real programs behind the wrapper. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isOf, program, type Scene, startScene } from "./kit.ts";
import { UPSTREAM_ADDRESS } from "./upstream.ts";
import { countedCalls, rightCalls, rightCount, usualCalls } from "./usual-calls.ts";

let scene: Scene;
beforeAll(async () => {
  scene = await startScene();
});
afterAll(() => scene[Symbol.asyncDispose]());

/** And the HTTP that each speaks over TLS. */
const CLIENTS = [
  ["fetch", "1.1"],
  ["node-https", "1.1"],
  ["undici", "2.0"],
] as const;

describe.concurrent("a Node.js program with", () => {
  test.each(CLIENTS)("%s is governed without knowing of the proxy", async (client, version) => {
    const account = await usualCalls(scene, client, [process.execPath, program(`${client}.ts`)]);
    expect(account).toEqual(rightCalls(version));
  });

  test("an http.Agent of its own goes around the proxy, with the global one through it", async () => {
    const url = `http://${UPSTREAM_ADDRESS}:${scene.plain.port}/agent`;
    const { code, stdout } = await scene.run([process.execPath, program("custom-agent.ts"), url]);
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^global 200 .+\ncustom 200 .+\n$/)]);
    expect(scene.plain.requests.filter(isOf("agent"))).toMatchObject([
      { path: "/agent/global", traceparent: expect.stringMatching(/^00-/) },
      { path: "/agent/custom", traceparent: undefined },
    ]);
  });
});

test("every call of a Node.js program was counted", async () => {
  expect(await countedCalls(scene)).toEqual(rightCount(CLIENTS.length));
});
