/** @grpc/grpc-js, as a real program behind the wrapper: over TLS that is intercepted, and with prior knowledge in the clear. */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type GrpcServer, methodPath, startGrpcServer } from "./grpc-server.ts";
import { GOVERNED_HOST, PLAIN_HOST, program, type Scene, startScene } from "./kit.ts";
import { BODY } from "./upstream.ts";

let scene: Scene;
let servers: Readonly<Record<"tls" | "clear", GrpcServer>>;
beforeAll(async () => {
  scene = await startScene();
  const [tls, clear] = await Promise.all([startGrpcServer("tls"), startGrpcServer("clear")]);
  servers = { tls, clear };
});
afterAll(async () => {
  for (const part of [scene, servers.tls, servers.clear]) await part[Symbol.asyncDispose]();
});

const HASH = createHash("sha256").update(BODY).digest("hex");

/** Each kind of call brought back what it should; an error came with its text and trailer, a deadline as itself. */
const PRINTED = [
  `unary 0 ${HASH}`,
  `upload 0 ${HASH}`,
  `download 16 ${HASH}`,
  `duplex 16 ${HASH}`,
  "fail 8 no more ☂ kept",
  "wait 4 ",
  "",
].join("\n");

const METHODS = ["Unary", "Upload", "Download", "Duplex", "Fail", "Wait"];

describe.concurrent("gRPC", () => {
  test.each([
    ["over intercepted TLS", "tls", GOVERNED_HOST, "api", "https"],
    ["in the clear", "clear", PLAIN_HOST, "default", "http"],
  ] as const)(
    "%s is governed: all four kinds of calls, errors and deadlines",
    async (_what, kind, host, destination, scheme) => {
      const { port, calls } = servers[kind];
      const command = [process.execPath, program("grpc.ts"), `${host}:${port}`, kind, scene.bodyFile];
      const { code, stdout, stderr } = await scene.run(command);
      expect([code, stdout, stderr]).toEqual([0, PRINTED, ""]);
      expect(calls).toEqual(
        METHODS.map((name) => ({
          path: methodPath(name),
          traceparent: expect.stringMatching(/^00-/),
        })),
      );
      const logged = await scene.logged(
        METHODS.length,
        (call) => call.host === host && call.method === "POST",
      );
      expect(logged).toMatchObject(METHODS.map((name) => ({ path: methodPath(name), destination, scheme })));
    },
  );
});
