/** An emulator that dies leaves nobody behind. */
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { eventually } from "./kit/emulate.ts";

const EMULATOR = new URL("../../../adapters/local/emulator.ts", import.meta.url).href;

test.each(["SIGKILL", "SIGTERM"] as const)(
  "processes end, even frozen ones, when it is ended by %s",
  async (signal) => {
    const folder = await mkdtemp(join(tmpdir(), "outrider-orphans-"));
    await writeFile(join(folder, "bootstrap"), "#!/bin/sh\nsleep 600 &\nexec sleep 600\n", { mode: 0o755 });
    const program = `
    const { startEmulator } = await import(${JSON.stringify(EMULATOR)});
    const emulator = await startEmulator({ taskRoot: ${JSON.stringify(folder)}, runtime: "custom", tmpDir: ${JSON.stringify(folder)} });
    emulator.onEvent(({ kind }) => {
      if (kind !== "runtime-start") return;
      setTimeout(() => {
        emulator.freeze();
        console.log(emulator.runtimePid());
      }, 100);
    });
  `;
    const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let text = "";
    child.stdout.on("data", (chunk) => (text += chunk));
    const pid = await eventually(() => Number(/^(\d+)\n/.exec(text)?.[1]) || undefined);
    expect(isGroupAlive(pid)).toBe(true);
    child.kill(signal);
    await eventually(() => !isGroupAlive(pid) || undefined);
    await rm(folder, { recursive: true, force: true });
  },
);

function isGroupAlive(group: number): boolean {
  try {
    return process.kill(-group, 0);
  } catch {
    return false;
  }
}
