/** curl, as a real program behind the wrapper: HTTP/1.1, HTTP/2 by ALPN, HTTP/2 with prior knowledge in the clear. */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { certificateFile } from "../kit/certificates.ts";
import { GOVERNED_HOST, isOf, PLAIN_HOST, program, type Scene, startScene } from "./kit.ts";
import { missingCommand, skipWithout } from "./needs.ts";
import { BODY, startUpstream, type Upstream } from "./upstream.ts";
import { countedCalls, rightCalls, rightCount, usualCalls } from "./usual-calls.ts";

let scene: Scene;
let h2c: Upstream;
beforeAll(async () => {
  scene = await startScene();
  h2c = await startUpstream("h2c");
});
afterAll(async () => {
  for (const part of [scene, h2c]) await part[Symbol.asyncDispose]();
});

const MISSING = missingCommand("curl", "curl");

const VERSIONS = [
  ["HTTP/1.1", "--http1.1", "1.1"],
  ["HTTP/2", "--http2", "2.0"],
] as const;

describe.concurrent("curl", () => {
  test.for(VERSIONS)(
    "with %s is governed without knowing of the proxy",
    async ([, option, version], context) => {
      skipWithout(context, MISSING);
      const client = `curl${option}`;
      const account = await usualCalls(scene, client, ["/bin/sh", program("curl.sh"), option]);
      expect(account).toEqual(rightCalls(version));
    },
  );

  // Without a tunnel curl leaves prior knowledge out: it speaks HTTP/1.1 to a proxy.
  test("with prior knowledge of HTTP/2 is governed inside of its tunnel", async (context) => {
    skipWithout(context, MISSING);
    const url = `http://${PLAIN_HOST}:${h2c.port}/prior/echo`;
    const command = ["curl", "--http2-prior-knowledge", "--proxytunnel", "--silent", "--show-error"];
    const upload = ["--data-binary", `@${scene.bodyFile}`, "--output", `${scene.folder}/prior`];
    const written = ["--write-out", "%{http_version} %{http_code} %{size_download}"];
    const { code, stdout, stderr } = await scene.run([...command, ...upload, ...written, url]);
    expect([code, stdout, stderr]).toEqual([0, `2 200 ${BODY.length}`, ""]);
    const sum = await scene.run(["sha256sum", `${scene.folder}/prior`]);
    expect(sum.stdout).toContain(createHash("sha256").update(BODY).digest("hex"));
    expect(h2c.requests).toMatchObject([
      { version: "2.0", bodyBytes: BODY.length, traceparent: expect.stringMatching(/^00-/) },
    ]);
    expect(await scene.logged(1, isOf("prior"))).toMatchObject([
      { destination: "default", scheme: "http", status: 200 },
    ]);
  });
});

test("every call of curl was counted", async (context) => {
  skipWithout(context, MISSING);
  expect(await countedCalls(scene)).toEqual(rightCount(VERSIONS.length));
});

test("curl that trusts its own roots only fails, and nothing of its call leaves the sandbox", async (context) => {
  skipWithout(context, MISSING);
  const roots = certificateFile("other-ca").slice("file:".length);
  const url = `https://${GOVERNED_HOST}:${scene.governed.port}/pinned/bytes`;
  const { code, stdout } = await scene.run(["curl", "--silent", "--cacert", roots, url]);
  // 60: the peer's certificate cannot be verified.
  expect([code, stdout]).toEqual([60, ""]);
  expect(scene.governed.requests.filter(isOf("pinned"))).toEqual([]);
});
