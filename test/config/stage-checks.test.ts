/** What only several values of a stage together can show. */
import { describe, expect, test } from "vitest";
import { compile } from "../../src/config/compile.ts";

/** The time of the check: 2027-01-15. */
const NOW_MS = Date.UTC(2027, 0, 15);

/** Every finding, warnings too, of a destination that states `keys`. */
function findingsIn(keys: string, more = ""): readonly string[] {
  return findingsOf(`version: 1\n${more}\ndestinations: [{ name: a, hosts: [x], ${keys} }]`);
}

function findingsOf(text: string): readonly string[] {
  const compiled = compile(text, "p", NOW_MS);
  return compiled.ok ? compiled.warnings : compiled.problems;
}

describe("refused, because", () => {
  test.each([
    [
      "hedge: { delay: 1s, percentile: 90 }",
      "hedge.percentile: hedge.delay (1s) and hedge.percentile (90) exclude",
    ],
    [
      "circuit_breaker: { consecutive_failures: off, error_ratio: off }",
      "circuit_breaker.consecutive_failures: nothing can open it",
    ],
    [
      "circuit_breaker: { slow_ratio: 0.1 }",
      "circuit_breaker.slow_ratio: has no effect without circuit_breaker.slow_call",
    ],
    [
      "circuit_breaker: { error_ratio: off, min_calls: 5 }",
      "circuit_breaker.min_calls: has no effect while error_ratio and slow_call are off",
    ],
    [
      "circuit_breaker: { shared: true }",
      "circuit_breaker.shared: needs a store that sandboxes share; state fleet.store",
    ],
    ["limits: { rate: 1/s, fleet: true }", "limits.fleet: needs a store that sandboxes share"],
    ["limits: { fleet: true }", "limits.fleet: has no effect without limits.rate"],
    ["limits: { key_header: x }", "limits.key_header: has no effect without limits.rate"],
    ["limits: { rate: 1/s, keys: 5 }", "limits.keys: has no effect without limits.key_header"],
    [
      "limits: { rate: 1/s, descriptors: [a=b] }",
      "limits.descriptors: needs a service that judges calls by them",
    ],
    ["limits: { descriptors: [a=b] }", "limits.descriptors: has no effect without limits.rate"],
    [
      "limits: { adaptive_concurrency: { min: 300 } }",
      "limits.adaptive_concurrency.min: adaptive_concurrency.min (300) is larger than its max (200)",
    ],
    ["limits: { per_invocation: {} }", "limits.per_invocation: bounds nothing"],
    ["limits: { per_invocation: { calls: off } }", "limits.per_invocation.calls: bounds nothing"],
    ["fallback: { body: '1' }", "fallback: needs status"],
    [
      "stale_if_error: { body_bytes: 2MiB }",
      "stale_if_error.body_bytes: body_bytes (2MiB) is larger than bytes (1MiB)",
    ],
    [
      "split: [{ host: b, weight: 60 }, { host: c, weight: 40.1 }]",
      "split: the weights add up to 100.1 percent, more than 100",
    ],
    [
      "split: [{ host: b, weight: 1, sticky: sandbox }, { host: c, weight: 1 }]",
      "split: a caller cannot keep its side by several things at once (sandbox, trace)",
    ],
    ["rewrite: {}", "rewrite: changes nothing"],
    ["rewrite: { path_prefix: /a }", "rewrite.path_prefix: needs path_replacement"],
    ["rewrite: { path_replacement: /a }", "rewrite.path_replacement: needs path_prefix"],
    [
      "rewrite: { remove_headers: [X-A], set_headers: [{ name: x-a, value: b }] }",
      'rewrite.set_headers: the header "x-a" is rewritten twice',
    ],
    [
      "rewrite: { flags: [{ header: x, values: [{ value: a, weight: 0 }] }] }",
      'rewrite.flags: all values of "x" have the weight 0',
    ],
    ["mirror: {}", "mirror: needs host, where the copies go, and percent, how many of the calls are copied"],
    ["mirror: { host: b }", "mirror: needs percent"],
    ["fault: { reset: true }", "fault: needs percent, how many of the calls fail, and expires"],
    ["fault: { percent: 1, expires: 2027-01-16 }", "fault: does nothing; state one of delay, abort"],
    [
      "fault: { percent: 1, abort: 503, reset: true, expires: 2027-01-16 }",
      "fault.reset: a call can end in one way only; state one of abort, reset",
    ],
    [
      "fault: { percent: 1, abort: 503, body_rate: 1KiB, expires: 2027-01-16 }",
      "fault.body_rate: there is no body of the upstream to change when abort ends the call",
    ],
    [
      "fault: { percent: 1, reset: true, expires: 2027-02-15 }",
      "fault.expires: 2027-02-15 is more than 30 days ahead; state a date up to 2027-02-14",
    ],
    ["balance: { algorithm: ewma }", "balance: has no effect without endpoints"],
    [
      "upstream: { host: u }, endpoints: [{ host: b, port: 1 }]",
      "upstream: has no effect beside endpoints, which are dialled instead",
    ],
    [
      "endpoints: [{ host: b, port: 1 }, { host: c, port: 1 }, { host: B, port: 1 }]",
      "endpoints[2]: is destinations[0].endpoints[0] again",
    ],
  ])("%s", (keys, message) => {
    const findings = findingsIn(keys);
    expect(findings).toEqual([expect.stringContaining(`: destinations[0].${message}`)]);
    expect(findings[0]).not.toContain("warning:");
  });

  test.each([
    ["fleet: {}", "fleet: names nothing that is shared"],
    [
      'fleet: { rate_limit_service: "r:1", password_env: P }',
      "fleet.password_env: has no effect without fleet.store",
    ],
    [
      "fleet: { store: redis://s, rate_limit_domain: d }",
      "fleet.rate_limit_domain: has no effect without fleet.rate_limit_service",
    ],
    [
      "acl: { rules: [{ name: a, action: deny, ports: [1] }, { name: a, action: allow }] }",
      'acl.rules[1].name: "a" is the name of acl.rules[0] too; choose another',
    ],
  ])("%s", (section, message) => {
    expect(findingsOf(`version: 1\n${section}`)).toEqual([expect.stringContaining(`: ${message}`)]);
  });
});

describe("doubted, because", () => {
  test.each([
    ["hedge: { methods: [GET, POST] }", "hedge.methods: warning: POST may reach the upstream twice at once"],
    ["hedge: { methods: [] }", "hedge.methods: warning: is empty, so nothing is ever sent twice"],
    ["circuit_breaker: { isolated: true }", "circuit_breaker.isolated: warning: no call goes out"],
    ["fallback: { status: 200, body: hello }", "fallback.body: warning: the body is no JSON"],
    [
      "fault: { percent: 1, reset: true, expires: 2027-01-15 }",
      "fault.expires: warning: 2027-01-15 is over, so there are no faults",
    ],
  ])("%s", (keys, message) => {
    expect(findingsIn(keys)).toEqual([expect.stringContaining(`: destinations[0].${message}`)]);
  });

  test("a rule behind one that takes every call", () => {
    const text =
      'version: 1\nacl: { rules: [{ name: a, action: allow, hosts: ["*"] }, { name: b, action: deny }] }';
    expect(findingsOf(text)).toEqual([
      expect.stringContaining(
        "acl.rules[1]: warning: is never reached, because acl.rules[0] takes every call",
      ),
    ]);
  });
});

describe("nothing to say of", () => {
  const fleet = 'fleet: { store: redis://s, rate_limit_service: "r:1" }';

  test.each([
    ["hedge: { delay: 1s }, circuit_breaker: {}, stale_if_error: {}, limits: { adaptive_concurrency: {} }"],
    ["circuit_breaker: { shared: true }, limits: { rate: 1/s, fleet: true, descriptors: [a=b] }"],
    ["hedge: off, circuit_breaker: off, fallback: off, rewrite: off, mirror: off, fault: off, split: []"],
    ["split: [{ host: b, weight: 33.3 }, { host: c, weight: 33.3 }, { host: d, weight: 33.4 }]"],
    ["fault: { percent: 1, delay: 1s, abort: 503, expires: 2027-02-14 }"],
    ["fault: { percent: 1, body_rate: 1KiB, truncate_after: 5B, expires: 2027-01-16 }"],
    ["fallback: { status: 200, content_type: text/plain, body: hello }"],
    ["local_port: 9001, upstream: { host: u }, endpoints: [{ host: b, port: 1 }, { host: b, port: 2 }]"],
    ["hedge: { delay: 1s }, routes: [{ match: { path: /r }, hedge: { delay: off, percentile: 90 } }]"],
    [
      "rewrite: { set_headers: [{ name: a, value: b }] }, routes: [{ match: { path: /r }, rewrite: { set_headers: [] } }]",
    ],
  ])("%s", (keys) => {
    expect(findingsIn(keys, fleet)).toEqual([]);
  });

  test("denying by default when a rule allows something", () => {
    const text =
      "version: 1\non_proxy_failure: closed\nacl: { default: deny, rules: [{ name: a, action: allow, hosts: [x] }] }";
    expect(findingsOf(text)).toEqual([]);
  });

  test("a store that is stated, but not rightly: only that is reported", () => {
    const findings = findingsIn("circuit_breaker: { shared: true }", "fleet: { store: localhost }");
    expect(findings).toEqual([expect.stringContaining("fleet.store: ")]);
  });

  test("what defaults lack is said once", () => {
    const text =
      "version: 1\ndefaults: { mirror: { host: m } }\ndestinations: [{ name: a, hosts: [x] }, { name: b, hosts: [y] }]";
    expect(findingsOf(text)).toEqual([expect.stringContaining("defaults.mirror: needs percent")]);
  });
});

test.each([
  ["hedge", "there is no response head to be slow"],
  ["fallback", "there is no response to take the place of"],
  ["mirror", "there is no request to copy"],
])("with protocol: tcp %s has no effect, and off is no mistake", (key, why) => {
  const tcp = (value: string) =>
    `version: 1\ndestinations: [{ name: a, hosts: [x], protocol: tcp, local_port: 9001, ports: [1], ${key}: ${value} }]`;
  const stated = { hedge: "{}", fallback: "{ status: 200 }", mirror: "{ host: m, percent: 1 }" }[key]!;
  expect(findingsOf(tcp(stated))).toEqual([
    expect.stringContaining(`${key}: has no effect with protocol: tcp, because ${why}`),
  ]);
  expect(findingsOf(tcp("off"))).toEqual([]);
});
