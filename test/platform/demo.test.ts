/** `npm run demo` as a newcomer runs it: a process, its exit code and its page. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { basename } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { runFunction } from "../../examples/demo/run.ts";
import { openStage, POLICY_FILE } from "../../examples/demo/stage.ts";
import { UPSTREAM_ADDRESS } from "../../examples/demo/upstreams/upstream.ts";
import { surprises } from "../../examples/demo/verdict.ts";
import { compile } from "../../src/config/compile.ts";

const MAIN = fileURLToPath(new URL("../../examples/demo/main.ts", import.meta.url));

/** Only Linux answers on all of 127.0.0.0/8 unasked. */
const hasAddress = await new Promise<boolean>((resolve) => {
  const server = createServer();
  server.once("error", () => resolve(false));
  server.listen(0, UPSTREAM_ADDRESS, () => server.close(() => resolve(true)));
});

describe.skipIf(!hasAddress)(`the demo (needs the loopback address ${UPSTREAM_ADDRESS})`, () => {
  let code: number | null;
  let page: string;
  let progress: string;

  beforeAll(async () => {
    const child = spawn(process.execPath, [MAIN], { stdio: ["ignore", "pipe", "pipe"] });
    const exit = new Promise<number | null>((resolve) => child.once("exit", resolve));
    [page, progress, code] = await Promise.all([text(child.stdout), text(child.stderr), exit]);
  });

  test("ends by itself, with success", () => {
    expect(progress).not.toContain("unexpected");
    expect(code).toBe(0);
  });

  test.each([
    ["payments", /payments .* (UND_ERR_SOCKET|ECONNRESET) +1 .* - 200 +1 .* [0-9a-f]{8}$/gm],
    ["stock", /stock .* 503 +1 .* - 200 +3 .* [0-9a-f]{8}$/gm],
    ["search", /search .* \d+ of 30: 429 +30 .* - 30 x 200 +30 .* [0-9a-f]{8}$/gm],
    ["orders", /orders .* 200, no trace +1 .* - 200 +1 .* [0-9a-f]{8}$/gm],
  ])("shows %s wrong on the left and right on the right, cold and warm", (_name, line) => {
    expect(page.match(line)).toHaveLength(2);
  });

  test("shows the cold start of both, what Outrider added, and what it logged", () => {
    expect(page).toMatch(/^without +cold start \d+ ms: runtime spawned/m);
    expect(page).toMatch(/^with +cold start \d+ ms: outrider spawned/m);
    expect(page).toMatch(/^added +-?\d+ ms of cold start; -?\d+\.\d+ ms a call/m);
    expect(page).toMatch(/^logged +calls=83 failed=0 attempts=85 retries=2 /m);
  });

  test("fits a hundred columns of plain text when nobody looks at it", () => {
    expect(page).toMatch(/^[\x20-\x7e\n]*$/);
    for (const line of page.split("\n")) expect(line.length).toBeLessThanOrEqual(100);
  });

  test("is not content with a run in which nothing was governed", async () => {
    const stage = openStage();
    try {
      const without = await runFunction(stage, false);
      const found = surprises(without, without);
      expect(found.filter((line) => line.startsWith("without Outrider"))).toEqual([]);
      for (const name of ["payments", "stock", "search", "orders"])
        expect(found.filter((line) => line.includes(`: ${name} should be governed`))).toHaveLength(2);
    } finally {
      stage.close();
    }
  });
});

test("the demo's policy is valid as it stands, without a warning", () => {
  const compiled = compile(readFileSync(POLICY_FILE, "utf8"), basename(POLICY_FILE));
  expect(compiled).toMatchObject({ ok: true, warnings: [] });
});
