/** S19: the proxy goes its own way, whatever its environment says of proxies, and notices when a call comes back to it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { compiledText } from "../../src/config/compile.ts";
import { eventually } from "../kit/eventually.ts";
import { http2Origin } from "../kit/http2-origin.ts";
import { field } from "../kit/message.ts";
import { ok, scriptedOrigin, step } from "../kit/origin.ts";
import { get, type ProxyOptions, startProxy, testConfig } from "../kit/proxy.ts";
import { askOnce } from "../kit/raw-client.ts";

const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

/** Every spelling of the variables, and the one that makes Node's own clients heed them. */
const poisoned = (proxy: string): Record<string, string> => ({
  ...Object.fromEntries(
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].map((name) => [
      name,
      proxy,
    ]),
  ),
  NO_PROXY: "",
  no_proxy: "",
  NODE_USE_ENV_PROXY: "1",
  PATH: process.env.PATH ?? "",
});

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}

describe("S19: proxy variables", () => {
  test("S19: of the proxy's environment lead none of its calls astray", async () => {
    const folder = mkdtempSync(join(tmpdir(), "outrider-loop-"));
    await using trap = await scriptedOrigin([ok("trapped")]);
    await using origin = await scriptedOrigin([ok("reached")], { host: "127.0.0.2" });
    const policy = join(folder, "policy.json");
    writeFileSync(policy, compiledText(testConfig({ telemetry: { access_log: "off", summary: false } })));
    const env = poisoned(`http://${trap.authority}`);
    const proxy = spawn(process.execPath, [MAIN, "run", "--port", "0", "--config", policy], {
      env,
      stdio: ["ignore", "ignore", "pipe"],
    });
    try {
      let said = "";
      proxy.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
      const port = () => Number(/ on http:\/\/127\.0\.0\.1:(\d+)/.exec(said)?.[1] ?? 0);
      await eventually("the proxy to serve", () => port() > 0);
      expect((await askOnce(port(), get(origin))).body.toString()).toBe("reached");
      const tunnel = `CONNECT ${origin.authority} HTTP/1.1\r\nHost: ${origin.authority}\r\n\r\n`;
      expect((await askOnce(port(), tunnel)).status).toBe(200);
      expect(trap.connections).toHaveLength(0);
    } finally {
      await ended(proxy);
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test("S19: the control: a program that heeds them is trapped", async () => {
    await using trap = await scriptedOrigin([ok("trapped")]);
    await using origin = await scriptedOrigin([ok("reached")], { host: "127.0.0.2" });
    const script = `const r = await fetch("http://${origin.authority}/"); process.stdout.write(await r.text());`;
    const env = poisoned(`http://${trap.authority}`);
    const child = spawn(process.execPath, ["--input-type=module", "--eval", script], {
      env,
      stdio: ["ignore", "ignore", "ignore"],
    });
    try {
      await trap.connected(1);
      expect(origin.connections).toHaveLength(0);
    } finally {
      await ended(child);
    }
  });
});

/** GET of http://api.test/ in absolute form, as a proxy asks the next one. */
const getApi = (fields = ""): string => `GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\n${fields}\r\n`;

/** api.test is reached over a neighbour. */
const over = (port: number, more: object = {}): NonNullable<ProxyOptions["policy"]> => ({
  destinations: [{ name: "api", hosts: ["api.test"], upstream: { host: "127.0.0.1", port }, ...more }],
});

const MARK = "outrider-instance";

describe("S19: a chain of proxies", () => {
  test("S19: that leads back here ends in 508, at its second call", async () => {
    let port = 0;
    // A neighbour whose next hop is the proxy that asked it, and who writes fields in his own way.
    await using neighbour = await scriptedOrigin([
      step(async ({ peer, request }) => {
        const back = await askOnce(port, getApi(`${MARK}: ${field(request, MARK)}\r\n`));
        await peer.write(`${back.head}${back.body}`);
        return true;
      }),
    ]);
    await using proxy = await startProxy({ detectLoops: true, policy: over(neighbour.port) });
    port = proxy.port;
    const response = await askOnce(port, getApi());
    expect([response.status, field(response, "outrider-error")]).toEqual([508, "LOOP_DETECTED"]);
    expect(neighbour.requests).toHaveLength(1);
  });

  test("S19: that leads back here over HTTP/2 ends in 508 too", async () => {
    let port = 0;
    await using neighbour = await http2Origin(async (request) => {
      const back = await askOnce(port, getApi(`${MARK}: ${request.field(MARK)}\r\n`));
      request.stream.respond({ ":status": back.status });
      request.stream.end();
    });
    await using proxy = await startProxy({
      detectLoops: true,
      policy: over(neighbour.port, { http_version: "http2" }),
    });
    port = proxy.port;
    expect((await askOnce(port, getApi())).status).toBe(508);
    expect(neighbour.requests).toHaveLength(1);
  });

  test("S19: of two that lead on is no loop, and both are marked", async () => {
    await using origin = await scriptedOrigin([ok("end")]);
    await using second = await startProxy({ detectLoops: true, policy: over(origin.port) });
    await using neighbour = await scriptedOrigin([
      step(async ({ peer, request }) => {
        const on = await askOnce(second.port, getApi(`${MARK}: ${field(request, MARK)}\r\n`));
        await peer.write(`${on.head}${on.body}`);
        return true;
      }),
    ]);
    await using first = await startProxy({ detectLoops: true, policy: over(neighbour.port) });
    expect((await askOnce(first.port, getApi())).body.toString()).toBe("end");
    const marks = origin.requests[0]!.fields.filter(([name]) => name.toLowerCase() === MARK);
    expect(new Set(marks.map(([, value]) => value)).size).toBe(2);
  });

  test("S19: every call on a connection is marked, and a call that only names the field is none that came back", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy({ detectLoops: true, policy: over(origin.port) });
    expect((await askOnce(proxy.port, getApi())).status).toBe(200);
    expect((await askOnce(proxy.port, getApi("Outrider-Instance: 0123\r\n"))).status).toBe(200);
    expect(origin.connections).toHaveLength(1);
    const marks = origin.requests.map(({ head }) => /^Outrider-Instance: ([0-9a-f]{32})\r$/m.exec(head)?.[1]);
    expect(marks[0]).toBeDefined();
    expect(marks[1]).toBe(marks[0]);
  });
});
