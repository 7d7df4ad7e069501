/** A smoke run of the bench `fleet`: it runs and says what it measured, and no speed is judged. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { skipWithout } from "../clients/needs.ts";
import { MISSING_REDIS } from "../fleet/redis.ts";

const main = fileURLToPath(new URL("../../bench/main.ts", import.meta.url));

test("fleet times calls without a limit, with one of this sandbox's own and with a shared one", async (context) => {
  skipWithout(context, MISSING_REDIS);
  const { stdout } = await promisify(execFile)(process.execPath, [main, "fleet", "--quick", "--seed", "7"]);
  expect(stdout).toContain("- Seed: 7, rounds: 1");
  for (const subject of ["no-limit", "local", "fleet", "fleet-asking"]) {
    expect(stdout).toMatch(new RegExp(`^\\| ${subject} +\\| +\\d+\\.\\d\\d \\(`, "m"));
  }
}, 60_000);
