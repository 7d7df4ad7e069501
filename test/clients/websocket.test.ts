/** WebSocket clients, as real programs behind the wrapper. */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { GOVERNED_HOST, isOf, program, type Scene, startScene } from "./kit.ts";
import { BODY, UPSTREAM_ADDRESS } from "./upstream.ts";
import { type EchoServer, startWebSocketServer } from "./websocket-server.ts";

let scene: Scene;
let echo: EchoServer;
let plainEcho: EchoServer;
beforeAll(async () => {
  scene = await startScene();
  [echo, plainEcho] = await Promise.all([startWebSocketServer("tls"), startWebSocketServer("clear")]);
});
afterAll(async () => {
  for (const part of [scene, echo, plainEcho]) await part[Symbol.asyncDispose]();
});

const client = (how: string, url: string) =>
  scene.run([process.execPath, program("websocket.ts"), how, url, scene.bodyFile]);

/** 16 messages came back as they were sent, and the close handshake was kept. */
const RIGHT = `echo 16 ${createHash("sha256").update(BODY).digest("hex")}\nclose 1000 done\n`;

describe.concurrent("a WebSocket", () => {
  test.each(["built-in", "ws-agent"])("of %s is governed", async (how) => {
    const { code, stdout, stderr } = await client(how, `wss://${GOVERNED_HOST}:${echo.port}/${how}/`);
    expect([code, stdout, stderr]).toEqual([0, RIGHT, ""]);
    expect(echo.upgrades.filter(({ path }) => path === `/${how}/`)).toEqual([
      { path: `/${how}/`, traceparent: expect.stringMatching(/^00-/) },
    ]);
    expect(await scene.logged(1, isOf(how))).toMatchObject([
      { destination: "api", scheme: "https", status: 101 },
    ]);
  });

  test("of ws without an agent goes around the proxy", async () => {
    const { code, stdout } = await client("ws", `ws://${UPSTREAM_ADDRESS}:${plainEcho.port}/ws/`);
    expect([code, stdout]).toEqual([0, RIGHT]);
    expect(plainEcho.upgrades).toEqual([{ path: "/ws/", traceparent: undefined }]);
  });
});
