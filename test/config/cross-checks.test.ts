/** What only several values of a policy together can show. */
import { describe, expect, test } from "vitest";
import { compile } from "../../src/config/compile.ts";

/** Every finding, warnings too. */
function findingsIn(text: string): readonly string[] {
  const compiled = compile(text, "p");
  return compiled.ok ? compiled.warnings : compiled.problems;
}

const policy = (...lines: string[]) => ["version: 1", ...lines].join("\n");
const destinations = (...entries: string[]) =>
  policy("destinations:", ...entries.map((entry) => `  - { ${entry} }`));

describe("errors", () => {
  test.each([
    [
      "two destinations of one name",
      destinations("name: a, hosts: [x]", "name: b, hosts: [y]", "name: a, hosts: [z]"),
      'p:5:13: destinations[2].name: "a" is the name of destinations[0] too; choose another',
    ],
    [
      "one host claimed twice",
      destinations("name: a, hosts: [x, API.example]", "name: b, hosts: [api.example]"),
      'destinations[1].hosts[0]: "api.example" on any port belongs to destinations[0].hosts[1] already',
    ],
    [
      "one host and port claimed twice",
      destinations("name: a, hosts: [x], ports: [80, 443]", "name: b, hosts: [x], ports: [8443, 443]"),
      'destinations[1].hosts[0]: "x" on port 443 belongs to destinations[0].hosts[0] already',
    ],
    [
      "one host twice in one destination",
      destinations('name: a, hosts: ["*.x", "*.x"]'),
      'destinations[0].hosts[1]: "*.x" on any port belongs to destinations[0].hosts[0] already',
    ],
    [
      "one local port used twice",
      destinations("name: a, hosts: [x], local_port: 9001", "name: b, hosts: [y], local_port: 9001"),
      "destinations[1].local_port: 9001 is the local port of destinations[0] too",
    ],
    [
      "a local port that is the proxy's own by default",
      destinations("name: a, hosts: [x], local_port: 4140"),
      "destinations[0].local_port: 4140 is the proxy's own port (listen.port)",
    ],
    [
      "a local port that is the proxy's own",
      policy("listen: { port: 9001 }", "destinations: [{ name: a, hosts: [x], local_port: 9001 }]"),
      "destinations[0].local_port: 9001 is the proxy's own port",
    ],
    [
      "a local port with only a pattern to forward to",
      destinations('name: a, hosts: ["*.x"], local_port: 9001'),
      "destinations[0].local_port: needs to know where to forward to",
    ],
    [
      "a local port with two hosts to forward to",
      destinations("name: a, hosts: [x, y], local_port: 9001"),
      "destinations[0].local_port: needs to know where to forward to",
    ],
    [
      "a client key without its certificate",
      destinations("name: a, hosts: [x], tls: { client_key: file:/k.pem }"),
      "destinations[0].tls.client_key: needs client_cert",
    ],
    [
      "an empty tls",
      destinations("name: a, hosts: [x], tls: {}"),
      "destinations[0].tls: says nothing; write tls: { originate: true }, tls: { intercept: true }",
    ],
    [
      "tls switched off and configured",
      destinations("name: a, hosts: [x], tls: { originate: false, ca: file:/ca.pem }"),
      "destinations[0].tls.originate: is false, so ca would have no effect",
    ],
    [
      "tls switched off, not opened, and configured",
      destinations("name: a, hosts: [x], tls: { originate: false, intercept: false, ca: file:/ca.pem }"),
      "destinations[0].tls.originate: is false, so ca would have no effect; delete one or the other, or write intercept: true",
    ],
    [
      "a client key without its certificate where only TLS of the application's is spoken",
      destinations(
        "name: a, hosts: [x], tls: { intercept: true, originate: false, client_key: file:/k.pem }",
      ),
      "destinations[0].tls.client_key: needs client_cert",
    ],
    [
      "tls towards every host",
      destinations('name: a, hosts: ["*"], tls: { client_cert: file:/c.pem }'),
      "destinations[0].tls: would wrap the plain calls to every host in TLS",
    ],
    [
      "a route that matches everything",
      destinations("name: a, hosts: [x], routes: [{ match: {}, timeout: 1s }]"),
      "destinations[0].routes[0].match: matches every call",
    ],
    [
      "a try longer than the call",
      destinations("name: a, hosts: [x], timeout: 2s, per_try_timeout: 3s"),
      "destinations[0].per_try_timeout: per_try_timeout (3s) is longer than timeout (2s)",
    ],
    [
      "a try longer than the call's default",
      policy("defaults: { timeout: 2s }", "destinations: [{ name: a, hosts: [x], per_try_timeout: 3s }]"),
      "destinations[0].per_try_timeout: per_try_timeout (3s) is longer than timeout (2s)",
    ],
    [
      "a call shorter than its destination's try",
      destinations(
        "name: a, hosts: [x], per_try_timeout: 3s, routes: [{ match: { path: /x }, timeout: 2s }]",
      ),
      "destinations[0].routes[0].timeout: per_try_timeout (3s) is longer than timeout (2s)",
    ],
    [
      "a first wait longer than the longest",
      destinations("name: a, hosts: [x], retry: { backoff: { base: 2s } }"),
      "destinations[0].retry.backoff.base: backoff.base (2s) is longer than backoff.max (1s)",
    ],
    [
      "a burst without a rate",
      destinations("name: a, hosts: [x], limits: { burst: 5 }"),
      "destinations[0].limits.burst: has no effect without limits.rate",
    ],
    [
      "an overflow without a rate",
      policy("defaults: { limits: { overflow: wait } }"),
      "defaults.limits.overflow: has no effect without limits.rate",
    ],
    [
      "a queue without a limit to wait for",
      destinations("name: a, hosts: [x], limits: { queue: 5 }"),
      "destinations[0].limits.queue: has no effect without limits.max_concurrency",
    ],
    [
      "a target as large as its head",
      policy("limits: { target_bytes: 16KiB }"),
      "limits.target_bytes: target_bytes (16KiB) must be smaller than head_bytes (16KiB)",
    ],
    [
      "all buffers together smaller than those of one call",
      policy("limits: { total_buffer: 1MiB, exchange_buffer: 1MiB }"),
      "limits.total_buffer: total_buffer (1MiB) must be at least twice exchange_buffer (1MiB)",
    ],
    [
      "a transparent port that is the proxy's own by default",
      policy("listen: { transparent_port: 4140 }"),
      "listen.transparent_port: 4140 is the proxy's own port (listen.port) too",
    ],
    [
      "a transparent port that is the proxy's own",
      policy("listen: { port: 9001, transparent_port: 9001 }"),
      "listen.transparent_port: 9001 is the proxy's own port",
    ],
    [
      "a local port that is the transparent one",
      policy(
        "listen: { transparent_port: 9001 }",
        "destinations: [{ name: a, hosts: [x], local_port: 9001 }]",
      ),
      "destinations[0].local_port: 9001 takes redirected connections (listen.transparent_port)",
    ],
    [
      "a head smaller than the default target",
      policy("limits: { head_bytes: 4KiB }"),
      "limits.head_bytes: target_bytes (8KiB) must be smaller than head_bytes (4KiB)",
    ],
  ])("%s", (_, text, message) => {
    expect(compile(text, "p").ok).toBe(false);
    expect(findingsIn(text).join("\n")).toContain(message);
    expect(findingsIn(text)).toHaveLength(1);
  });
});

describe("warnings", () => {
  test.each([
    [
      "POST among the methods that are tried again",
      destinations("name: a, hosts: [x], retry: { max_retries: 1, methods: [GET, POST] }"),
      "p:3:62: destinations[0].retry.methods: warning: POST may be sent again after the upstream acted",
    ],
    [
      "retries switched on where POST is among the default's methods",
      policy(
        "defaults: { retry: { methods: [POST] } }",
        "destinations: [{ name: a, hosts: [x], retry: { max_retries: 1 } }]",
      ),
      "destinations[0].retry.max_retries: warning: POST may be sent again",
    ],
    [
      "retries on nothing",
      destinations("name: a, hosts: [x], retry: { max_retries: 1, on: [] }"),
      "destinations[0].retry.on: warning: retry.on is empty",
    ],
    [
      "retries on a timeout that is off",
      destinations("name: a, hosts: [x], retry: { max_retries: 1, on: [per_try_timeout] }"),
      "destinations[0].retry.on: warning: retry.on names per_try_timeout, which is off",
    ],
    [
      "a route behind one that takes its calls",
      destinations(
        "name: a, hosts: [x], routes: [{ match: { path: /v1 } }, { match: { path: /v1/x, methods: [GET] } }]",
      ),
      "destinations[0].routes[1].match: warning: is never reached, because destinations[0].routes[0]",
    ],
    [
      "tls for plain calls to the port that they never come to",
      destinations("name: a, hosts: [x], ports: [443], tls: { originate: true }"),
      "destinations[0].tls: warning: the plain calls that tls is for come to port 80",
    ],
    [
      "TLS of every host opened",
      destinations('name: a, hosts: ["*"], tls: { intercept: true }'),
      "destinations[0].tls.intercept: warning: opens the TLS of every host",
    ],
    [
      "TLS opened on ports that TLS does not come to",
      destinations("name: a, hosts: [x], ports: [80, 8080], tls: { intercept: true }"),
      "destinations[0].tls.intercept: warning: TLS comes to port 443 unless the call names another, and ports holds only 80, 8080",
    ],
    [
      "conditions of gRPC and HTTP/2 over HTTP/1.1",
      destinations(
        "name: a, hosts: [x], http_version: http1, retry: { on: [503, grpc_aborted, refused_stream] }",
      ),
      "destinations[0].retry.on: warning: grpc_aborted, refused_stream cannot be met over http_version: http1",
    ],
    [
      "conditions of gRPC over HTTP/1.1 in a route",
      destinations(
        "name: a, hosts: [x], http_version: http1, routes: [{ match: { path: /x }, retry: { on: [grpc_aborted] } }]",
      ),
      "destinations[0].routes[0].retry.on: warning: grpc_aborted cannot be met",
    ],
    [
      "listening for other machines",
      policy("listen: { unsafe_bind: 0.0.0.0 }"),
      "listen.unsafe_bind: warning: whoever reaches 0.0.0.0 can use the proxy",
    ],
    [
      "denying by default while the proxy may be bypassed",
      policy("acl: { default: deny }", "destinations: [{ name: a, hosts: [x] }]"),
      "acl.default: warning: denies by default, yet on_proxy_failure",
    ],
    [
      "denying everything",
      policy("on_proxy_failure: closed", "acl: { default: deny }"),
      "acl.default: warning: denies every call, because the file names no destination and no rule allows one",
    ],
    [
      "a sample of what is written anyway",
      policy("telemetry: { sample: 0.5 }"),
      "telemetry.sample: warning: has no effect",
    ],
  ])("%s", (_, text, message) => {
    expect(compile(text, "p").ok).toBe(true);
    expect(findingsIn(text)).toEqual([expect.stringContaining(message)]);
  });
});

describe("nothing to say", () => {
  test.each([
    [
      "a host on any port beside the same host on one",
      destinations("name: a, hosts: [x]", "name: b, hosts: [x], ports: [8443]"),
    ],
    ["a suffix beside a host under it", destinations('name: a, hosts: ["*.x"]', "name: b, hosts: [y.x]")],
    ["a local port with one exact host", destinations("name: a, hosts: [x], local_port: 9001")],
    [
      "a local port with an upstream",
      destinations('name: a, hosts: ["*.x"], local_port: 9001, upstream: { host: y }'),
    ],
    ["tls switched off alone", destinations("name: a, hosts: [x], tls: { originate: false }")],
    [
      "tls from every host to one upstream",
      destinations('name: a, hosts: ["*"], upstream: { host: gw }, tls: { originate: true }'),
    ],
    [
      "TLS opened on a port that is TLS by convention",
      destinations("name: a, hosts: [x], ports: [8443], tls: { intercept: true }"),
    ],
    [
      "TLS opened, with an identity of its own towards the upstream",
      destinations("name: a, hosts: [x], ports: [443], tls: { intercept: true, client_cert: file:/c.pem }"),
    ],
    [
      "TLS opened and plain calls left plain",
      destinations("name: a, hosts: [x], tls: { intercept: true, originate: false, ca: file:/ca.pem }"),
    ],
    [
      "TLS left closed for one host of many",
      destinations(
        "name: a, hosts: ['*.x'], tls: { intercept: true }",
        "name: b, hosts: [b.x], tls: { intercept: false }",
      ),
    ],
    [
      "HTTP/1.1 with the conditions of the built-in level",
      destinations("name: a, hosts: [x], http_version: http1, retry: { max_retries: 1 }"),
    ],
    ["no transparent port and any free port", policy("listen: { port: 0, transparent_port: 0 }")],
    ["a try shorter than the call", destinations("name: a, hosts: [x], timeout: 3s, per_try_timeout: 3s")],
    ["POST among methods without retries", destinations("name: a, hosts: [x], retry: { methods: [POST] }")],
    [
      "a burst whose rate a route switches off",
      destinations(
        "name: a, hosts: [x], limits: { rate: 10/s, burst: 5 }, routes: [{ match: { path: /x }, limits: { rate: off } }]",
      ),
    ],
    [
      "routes that overlap in part",
      destinations("name: a, hosts: [x], routes: [{ match: { path: /v1 } }, { match: { path: /v10 } }]"),
    ],
    [
      "a narrow route before a wide one",
      destinations("name: a, hosts: [x], routes: [{ match: { path: /v1/x } }, { match: { path: /v1 } }]"),
    ],
    ["the loopback of IPv6", policy("listen: { unsafe_bind: '::1' }")],
    [
      "names that objects have",
      destinations("name: __proto__, hosts: [__proto__]", "name: constructor, hosts: [constructor]"),
    ],
  ])("%s", (_, text) => {
    expect(findingsIn(text)).toEqual([]);
  });

  test("a finding of the defaults is not repeated for each destination", () => {
    const text = policy(
      "defaults: { timeout: 1s, per_try_timeout: 2s }",
      "destinations: [{ name: a, hosts: [x] }, { name: b, hosts: [y], routes: [{ match: { path: /x } }] }]",
    );
    expect(findingsIn(text)).toHaveLength(1);
  });
});
