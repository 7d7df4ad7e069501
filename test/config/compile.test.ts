/** What a policy file is refused for, as its author reads it: place, key, reason, remedy. */
import { describe, expect, test } from "vitest";
import { compile, compiledText, compileOrThrow } from "../../src/config/compile.ts";
import { ConfigError } from "../../src/config/load.ts";

function problemsIn(text: string): readonly string[] {
  const compiled = compile(text, "policy.yaml");
  return compiled.ok ? [] : compiled.problems;
}

/** A policy with one destination that has `keys` too. */
const destination = (keys: string) =>
  `version: 1\ndestinations:\n  - name: a\n    hosts: [a.example]\n${keys.replace(/^/gm, "    ")}\n`;

describe("unknown keys", () => {
  test.each([
    ["versoin: 1", 'policy.yaml:1:1: versoin: unknown key; did you mean "version"?'],
    [
      destination("retry: { max_retry: 2 }"),
      'policy.yaml:5:14: destinations[0].retry.max_retry: unknown key; did you mean "max_retries"?',
    ],
    [destination("max_retries: 2"), 'destinations[0].max_retries: unknown key; it belongs under "retry"'],
    [destination("rate: 10/s"), 'destinations[0].rate: unknown key; it belongs under "limits"'],
    [destination("retry: { attempts: 3 }"), "write max_retries"],
    [
      destination("routes: [{ match: { pth: /x } }]"),
      'destinations[0].routes[0].match.pth: unknown key; did you mean "path"?',
    ],
    [
      destination("tls: { intercpt: true }"),
      'destinations[0].tls.intercpt: unknown key; did you mean "intercept"?',
    ],
    [
      "version: 1\ndefaults: { propagate: [xray] }",
      "defaults.propagate: unknown key; write telemetry.propagate",
    ],
    [
      "version: 1\nacl: { whatever: 1 }",
      "unknown key; known here: default, mode, private_ranges, allow_addresses, rules",
    ],
    ["version: 1\nlisten: { <<: {} }", "merge keys are not part of YAML 1.2"],
    ["version: 1\n__proto__: { x: 1 }", "policy.yaml:2:1: __proto__: unknown key"],
    ["version: 1\nconstructor: 1", "policy.yaml:2:1: constructor: unknown key"],
    [destination("retry: { toString: 1 }"), "destinations[0].retry.toString: unknown key"],
    ['version: 1\n"\\e[31m\\u202e": 1', 'policy.yaml:2:1: ["\\u001b[31m\\u202e"]: unknown key'],
  ])("%j", (text, message) => {
    expect(problemsIn(text).join("\n")).toContain(message);
  });
});

describe("values of the wrong form", () => {
  test.each([
    ["", "policy.yaml:1:1: the file is empty; a policy begins with version: 1"],
    ["# nothing\n", "the file is empty"],
    ["hello", 'policy.yaml:1:1: the policy must be a mapping of keys to values, not "hello"'],
    ["- 1", "the policy must be a mapping of keys to values, not a list"],
    ["acl: {}", "policy.yaml:1:1: version: is required; write version: 1"],
    ["version: 2", "policy.yaml:1:10: version: must be 1, not 2; write version: 1"],
    ['version: "1"', 'version: must be 1, not "1"'],
    [
      "version: 1\non_proxy_failure: opne",
      'on_proxy_failure: must be open or closed, not "opne"; did you mean "open"?',
    ],
    ["version: 1\nacl:", "policy.yaml:2:5: acl: must be a mapping of keys to values, not nothing"],
    ["version: 1\ndestinations: {}", "destinations: must be a list of destinations, not a mapping"],
    ["version: 1\ndestinations: [x]", 'destinations[0]: must be a mapping of keys to values, not "x"'],
    ["version: 1\ndestinations: [{ hosts: [a] }]", "destinations[0].name: is required"],
    ["version: 1\ndestinations: [{ name: a }]", "destinations[0].hosts: is required"],
    ["version: 1\ndestinations: [{ name: a, hosts: [] }]", "destinations[0].hosts: must not be empty"],
    [
      "version: 1\ndestinations: [{ name: a, hosts: a }]",
      'destinations[0].hosts: must be a list of hosts, not "a"',
    ],
    [
      "version: 1\ndestinations: [{ name: default, hosts: [a] }]",
      "this is the name of the destination that takes what no other does",
    ],
    ["version: 1\nlisten: { port: 65536 }", "listen.port: must be a whole number (0 to 65535), not 65536"],
    ["version: 1\nlisten: { port: 80.5 }", "listen.port: must be a whole number (0 to 65535), not 80.5"],
    ["version: 1\nlisten: { unsafe_bind: localhost }", "write an IP address"],
    ["version: 1\nlimits: { head_bytes: 65KiB }", "must be within 1KiB to 64KiB"],
    ["version: 1\nlimits: { head_bytes: 16384 }", "must be a size such as 64KiB, 16kB or 1MiB, not 16384"],
    ["version: 1\ntelemetry: { summary: yes }", 'telemetry.summary: must be true or false, not "yes"'],
    ["version: 1\ntelemetry: { sample: 2 }", "telemetry.sample: must be a number (0 to 1), not 2"],
    ["version: 1\ntelemetry: { flush_cap: 3s }", "must be within 0ms to 2s"],
    ["version: 1\ntelemetry: { destination: /tmp/log }", 'write "file:/tmp/log"'],
    [
      destination("timeout: 8"),
      "destinations[0].timeout: must be a duration such as 250ms, 8s, 2m or 1h, or off, not 8",
    ],
    [destination("timeout: 8sec"), '"8sec": write a duration such as 250ms, 8s, 2m or 1h, or off'],
    [destination("timeout: 0ms"), "must be within 1ms to 24h, or off"],
    [destination("timeout: 25h"), "must be within 1ms to 24h, or off"],
    [destination("connect_timeout: off"), '"off": write a duration'],
    [destination("retry: { max_retries: 11 }"), "must be a whole number (0 to 10), not 11"],
    [destination("retry: { max_retries: -1 }"), "must be a whole number (0 to 10), not -1"],
    [
      destination("retry: { on: ['503'] }"),
      'a status (400 to 599), a range such as "502-504", 4xx or 5xx, a gRPC status such as grpc_unavailable, or header: and the name of a response header, not "503"',
    ],
    [destination("retry: { on: [200] }"), "a status (400 to 599)"],
    [destination("retry: { on: [504-502] }"), "a status (400 to 599)"],
    [
      destination("retry: { on: [resets] }"),
      "must be connect_failure, reset_before_response, refused_stream, per_try_timeout",
    ],
    [destination("retry: { on: [grpc_ok] }"), 'or header: and the name of a response header, not "grpc_ok"'],
    [destination("retry: { on: [[]] }"), "not a list"],
    [destination("protocol: udp"), 'must be http or tcp, not "udp"'],
    [destination("http_version: 3"), "must be auto, http1 or http2, not 3"],
    [destination("tls: { intercept: yes }"), 'must be true or false, not "yes"'],
    ["version: 1\nlisten: { transparent_port: 65536 }", "listen.transparent_port: must be"],
    ["version: 1\nlimits: { handshake_timeout: 2m }", "must be within 100ms to 1m"],
    ["version: 1\nlimits: { streams: 0 }", "limits.streams: must be"],
    ["version: 1\nlimits: { tunnel_idle: 0ms }", "must be within 1s to 24h"],
    ["version: 1\nlimits: { exchange_buffer: 8MiB }", "must be within 16KiB to 4MiB"],
    ["version: 1\nlimits: { total_buffer: 64kB }", "must be within 1MiB to 1024MiB"],
    [destination("retry: { methods: [get] }"), '"get": methods are case-sensitive; write "GET"'],
    [destination("retry: { replay_buffer: 2MiB }"), "must be within 0B to 1MiB"],
    [destination("retry: { budget: { ratio: 1.5 } }"), "must be a number (0 to 1), not 1.5"],
    [destination("limits: { rate: 100 }"), "must be a rate such as 100/s, 600/m or 30/h, or off, not 100"],
    [destination("limits: { rate: 0/s }"), "write a rate"],
    [destination("limits: { max_concurrency: 0 }"), "must be a whole number (1 to 100000), or off, not 0"],
    [destination("limits: { overflow: drop }"), 'must be reject or wait, not "drop"'],
    [destination("deadline_headers: [{ name: x }]"), "deadline_headers[0].format: is required"],
    [destination("tls: { min_version: TLSv1.1 }"), 'must be TLSv1.2 or TLSv1.3, not "TLSv1.1"'],
    [destination("tls: { client_cert: certs/a.pem }"), "write file: and an absolute path"],
    [destination("propagate: [b3]"), 'must be tracecontext or xray, not "b3"'],
    [destination("ports: [0]"), "must be a whole number (1 to 65535), not 0"],
    [destination("allow_addresses: [10.0.0.0/33]"), "a prefix of IPv4 has at most 32 bits"],
    [destination("routes: [{ timeout: 1s }]"), "destinations[0].routes[0].match: is required"],
  ])("%j", (text, message) => {
    expect(problemsIn(text).join("\n")).toContain(message);
  });

  test("a long value is shown in short", () => {
    const [problem] = problemsIn(`version: ${"x".repeat(10_000)}`);
    expect(problem!.length).toBeLessThan(200);
  });
});

describe("a file with several problems", () => {
  test("lists all of them in the order of the file, each on one line", () => {
    const text = `version: 1
on_proxy_failure: maybe
destinations:
  - name: a
    hosts: ["https://a.example/"]
    retry: { max_retry: 2 }
  - name: b
    hosts: [b.example]
    limits: { burst: 2 }
  - name: b
    hosts: [c.example]
`;
    const places = problemsIn(text).map((line) => line.split(": ").slice(0, 2).join(" "));
    expect(places).toEqual([
      "policy.yaml:2:19 on_proxy_failure",
      "policy.yaml:5:13 destinations[0].hosts[0]",
      "policy.yaml:6:14 destinations[0].retry.max_retry",
      "policy.yaml:9:22 destinations[1].limits.burst",
      "policy.yaml:10:11 destinations[2].name",
    ]);
  });

  test("does not report what only follows from a mistyped key", () => {
    const problems = problemsIn(destination("tls: { client_cret: file:/a.pem, client_key: file:/a.key }"));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain('did you mean "client_cert"?');
  });

  test("lists a hundred and counts the rest", () => {
    const problems = problemsIn(
      `version: 1\n${Array.from({ length: 150 }, (_, i) => `key${i}: 1`).join("\n")}`,
    );
    expect(problems).toHaveLength(101);
    expect(problems.at(-1)).toBe("policy.yaml: 50 more problems; mend the ones above first");
  });
});

test("a source that compiles to more than the proxy reads is refused", () => {
  const destinations = Array.from(
    { length: 1000 },
    (_, i) => `- { name: d${i}, hosts: [h${i}.example], routes: [{ match: { path: /a } }] }`,
  );
  expect(problemsIn(`version: 1\ndestinations:\n${destinations.join("\n")}`)).toEqual([
    expect.stringMatching(/^policy\.yaml:1:1: compiles to \d+ bytes, more than 1 MiB; /),
  ]);
});

test("compileOrThrow gives all problems in one error, a line each", () => {
  expect(() => compileOrThrow("version: 1\na1: 1\nb2: 2", "p.yaml")).toThrow(ConfigError);
  expect(() => compileOrThrow("version: 1\na1: 1\nb2: 2", "p.yaml")).toThrow(
    /^p\.yaml:2:1: .*\np\.yaml:3:1: .*$/,
  );
});

test("the same policy compiles to the same bytes, however it is written", () => {
  const yaml = compileOrThrow("version: 1\nacl: { mode: report, default: deny }\n", "a.yaml");
  const json = compileOrThrow('{"acl":{"default":"deny","mode":"report"},"version":1}', "b.json");
  expect(compiledText(json.config)).toBe(compiledText(yaml.config));
});
