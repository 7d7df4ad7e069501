/** The clients of other languages' standard libraries, as real programs behind the wrapper. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { program, type Scene, startScene } from "./kit.ts";
import { missingCommand, skipWithout } from "./needs.ts";
import { countedCalls, rightCalls, rightCount, usualCalls } from "./usual-calls.ts";

let scene: Scene;
beforeAll(async () => {
  scene = await startScene();
});
afterAll(() => scene[Symbol.asyncDispose]());

/** Name, what is missing for it, its command, and the HTTP that it speaks over TLS. */
const CLIENTS = [
  [
    "Java's java.net.http",
    missingCommand("java", "default-jdk-headless"),
    ["java", program("JavaHttpClient.java")],
    "2.0",
  ],
  ["Ruby's net/http", missingCommand("ruby", "ruby"), ["ruby", program("net_http.rb")], "1.1"],
  // Without modules: nothing is looked up on the network.
  [
    "Go's net/http",
    missingCommand("go", "golang-go"),
    ["env", "GO111MODULE=off", "go", "run", program("net_http.go")],
    "2.0",
  ],
] as const;

describe.concurrent("a program with", () => {
  test.for(CLIENTS)("%s is governed without knowing of the proxy", async (client, context) => {
    const [name, missing, command, version] = client;
    skipWithout(context, missing);
    const account = await usualCalls(scene, command.at(-1)!.replace(/.*\./, ""), command);
    expect(account, name).toEqual(rightCalls(version));
  });
});

test("every call of these programs was counted", async (context) => {
  const ran = CLIENTS.filter(([, missing]) => missing === null).length;
  if (ran === 0) skipWithout(context, CLIENTS[0][1]);
  expect(await countedCalls(scene)).toEqual(rightCount(ran));
});
