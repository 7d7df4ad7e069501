/** Python's clients, as real programs behind the wrapper. boto3 is in `s3.test.ts`. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isOf, program, type Scene, startScene } from "./kit.ts";
import { missingCommand, missingModule, PYTHON, skipWithout } from "./needs.ts";
import { UPSTREAM_ADDRESS } from "./upstream.ts";
import { countedCalls, rightCalls, rightCount, usualCalls } from "./usual-calls.ts";

let scene: Scene;
beforeAll(async () => {
  scene = await startScene();
});
afterAll(() => scene[Symbol.asyncDispose]());

const CLIENTS = [
  ["requests", missingModule("requests")],
  ["urllib", missingCommand(PYTHON[0], "python3")],
  ["aiohttp", missingModule("aiohttp")],
] as const;

describe.concurrent("a Python program with", () => {
  test.for(CLIENTS)("%s is governed without knowing of the proxy", async ([client, missing], context) => {
    skipWithout(context, missing);
    const account = await usualCalls(scene, client, [...PYTHON, program(`with_${client}.py`)]);
    expect(account).toEqual(rightCalls("1.1"));
  });

  test("aiohttp that does not trust the environment goes around the proxy", async (context) => {
    skipWithout(context, missingModule("aiohttp"));
    const url = `http://${UPSTREAM_ADDRESS}:${scene.plain.port}/untrusting`;
    const { code, stdout } = await scene.run([...PYTHON, program("untrusting_aiohttp.py"), url]);
    expect([code, stdout]).toEqual([0, "200\n"]);
    expect(scene.plain.requests.filter(isOf("untrusting"))).toMatchObject([{ traceparent: undefined }]);
  });
});

test("every call of a Python program was counted", async (context) => {
  const ran = CLIENTS.filter(([, missing]) => missing === null).length;
  if (ran === 0) skipWithout(context, CLIENTS[0][1]);
  expect(await countedCalls(scene)).toEqual(rightCount(ran));
});
