/** S25: nothing that function code or a library did to Object.prototype, and no name that JavaScript knows, changes what is sent. */
import { expect, test } from "vitest";
import { field } from "../kit/message.ts";
import { ok, scriptedOrigin } from "../kit/origin.ts";
import { startProgram } from "../kit/program.ts";
import { get, startProxy } from "../kit/proxy.ts";
import { askOnce } from "../kit/raw-client.ts";

/** Names that the proxy's own objects have. Not those that Node's have too: Node itself does not start with a polluted `path`. */
const POLLUTE = `
for (const [name, value] of Object.entries({
  hosts: ["*"], ports: [1], status: 299, chunked: true, contentLength: 3, keepAlive: false, fields: "X-Evil: 1\\r\\n", upgrade: "h2c",
  tls: { clientCert: "", clientKey: "", ca: "", serverName: "", minVersion: "TLSv1.2" }, rejectUnauthorized: false, localPort: 1,
  upstream: { host: "127.0.0.1", port: 1 }, access: "allow", allowed: true, effect: "none", deadlineMs: 0, retry: { maxRetries: 9 },
})) Object.defineProperty(Object.prototype, name, { value, enumerable: true, configurable: true, writable: true });
`;

test("S25: a polluted Object.prototype changes no call and opens no destination", async () => {
  await using origin = await scriptedOrigin([ok("well")]);
  await using program = await startProgram({
    policy: { destinations: [{ name: "closed", hosts: ["127.0.0.2"], access: "deny" }] },
    nodeFlags: ["--import", `data:text/javascript,${encodeURIComponent(POLLUTE)}`],
  });
  const answer = await askOnce(program.port, get(origin, "/well"));
  expect([answer.status, answer.body.toString()]).toEqual([200, "well"]);
  expect(origin.requests[0]!.startLine).toBe("GET /well HTTP/1.1");
  expect(field(origin.requests[0]!, "Host")).toBe(origin.authority);
  const refused = await askOnce(
    program.port,
    "GET http://127.0.0.2:9/ HTTP/1.1\r\nHost: 127.0.0.2:9\r\n\r\n",
  );
  expect(field(refused, "Outrider-Error")).toBe("DENIED");
});

test("S25: header names that JavaScript knows are header names like any other, both ways", async () => {
  const names = ["__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "valueOf"];
  const lines = names.map((name, at) => `${name}: ${at}\r\n`).join("");
  await using origin = await scriptedOrigin([ok("x", lines)]);
  await using proxy = await startProxy();
  const answer = await proxy.ask(get(origin, "/", lines));
  for (const message of [answer, origin.requests[0]!]) {
    const kept = message.fields.filter(([name]) => names.includes(name));
    expect(kept).toEqual(names.map((name, at) => [name, String(at)]));
  }
});
