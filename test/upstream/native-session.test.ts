/** Node ends the process over a head that a peer broke off, unless something is done about it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:http2";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { nativeSession } from "../../src/http2/native-session.ts";
import { http2Ok, http2Origin } from "../kit/http2-origin.ts";

/** What the program said, and how it ended. Small semi-spaces: the garbage collector comes often. */
async function run(how: string): Promise<{ said: string; code: number | null }> {
  const program = resolve("test/upstream/broken-heads.ts");
  const child = spawn(process.execPath, ["--max-semi-space-size=1", program, how], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  child.stdout.on("data", (bytes: Buffer) => (said += bytes));
  child.stderr.on("data", (bytes: Buffer) => (said += bytes));
  const [code] = (await once(child, "close")) as [number | null];
  return { said, code };
}

test("fault 28: an upstream that breaks off its heads ends its connections, and never the process", async () => {
  expect(await run("room")).toEqual({ said: "survived\n", code: 0 });
});

test("node:http2 alone does not survive it; when it does, src/http2/native-session.ts can go", async () => {
  const { said, code } = await run("bare");
  expect(code).not.toBe(0);
  expect(said).toContain("current_nghttp2_memory_");
});

test("the native half of a session is found where the peer's settings are told", async () => {
  await using origin = await http2Origin(http2Ok());
  const session = connect(`http://${origin.authority}`);
  let found: object | null = null;
  session.on("remoteSettings", () => (found = nativeSession()));
  await once(session, "remoteSettings");
  session.destroy();
  expect(found).not.toBeNull();
  expect(nativeSession()).toBeNull();
});
