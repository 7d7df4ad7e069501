/** What a destination of plain bytes needs, and what it cannot have. */
import { describe, expect, test } from "vitest";
import { compile } from "../../src/config/compile.ts";

/** Every finding, warnings too. */
function findingsIn(text: string): readonly string[] {
  const compiled = compile(text, "p");
  return compiled.ok ? compiled.warnings : compiled.problems;
}

const destination = (keys: string) => `version: 1\ndestinations: [{ name: a, protocol: tcp, ${keys} }]`;

describe("protocol: tcp", () => {
  const tcp = (keys: string) => destination(`hosts: [x], local_port: 9001, ports: [5432]${keys}`);

  test.each([
    ["", null],
    [", timeout: 5s, connect_timeout: 1s, limits: { max_concurrency: 5 }", null],
    [", tls: { client_cert: file:/c.pem, ca: file:/ca.pem }", null],
    [", tls: { originate: true, intercept: false }", null],
    [", retry: { max_retries: 2, on: [connect_failure], backoff: { max: 2s } }", null],
    [", http_version: http1", "http_version: has no effect with protocol: tcp, because no HTTP is spoken"],
    [
      ", routes: [{ match: { path: /x } }]",
      "routes: has no effect with protocol: tcp, because there is no path",
    ],
    [
      ", deadline_headers: []",
      "deadline_headers: has no effect with protocol: tcp, because there are no headers",
    ],
    [", propagate: [xray]", "propagate: has no effect with protocol: tcp, because there are no headers"],
    [
      ", per_try_timeout: 1s",
      "per_try_timeout: has no effect with protocol: tcp, because there is no response",
    ],
    [
      ", idle_timeout: 1s",
      "idle_timeout: has no effect with protocol: tcp, because limits.tunnel_idle bounds",
    ],
    [
      ", tls: { intercept: true }",
      "tls.intercept: has no effect with protocol: tcp, because what comes to local_port",
    ],
    [
      ", retry: { methods: [GET] }",
      "retry.methods: has no effect with protocol: tcp, because there is no method",
    ],
    [", retry: { idempotency_headers: [x] }", "retry.idempotency_headers: has no effect with protocol: tcp"],
    [
      ", retry: { replay_buffer: 1KiB }",
      "retry.replay_buffer: has no effect with protocol: tcp, because nothing",
    ],
    [
      ", retry: { max_retries: 1, on: [connect_failure, 503, grpc_unavailable] }",
      "retry.on: with protocol: tcp only connect_failure can be met, not 503, grpc_unavailable",
    ],
  ])("{ local_port: 9001, ports: [5432]%s }", (keys, message) => {
    const expected = message === null ? [] : [expect.stringContaining(`destinations[0].${message}`)];
    expect(findingsIn(tcp(keys))).toEqual(expected);
    expect(compile(tcp(keys), "p").ok).toBe(message === null);
  });

  test.each([
    ["without a local port", "hosts: [x], ports: [5432]", "tcp needs local_port"],
    ["without a port to connect to", "hosts: [x], local_port: 9001", "tcp needs to know the port"],
    [
      "with several ports to connect to",
      "hosts: [x], local_port: 9001, ports: [1, 2]",
      "tcp needs to know the port",
    ],
    [
      "with an upstream that has no port",
      "hosts: [x], local_port: 9001, upstream: { host: y }",
      "tcp needs to know the port",
    ],
  ])("%s is refused", (_, keys, message) => {
    const text = destination(keys);
    expect(findingsIn(text)).toEqual([expect.stringContaining(`destinations[0].protocol: ${message}`)]);
    expect(compile(text, "p").ok).toBe(false);
  });
});
