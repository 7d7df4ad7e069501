/** Policy file → configuration: the stages that are off until some level states them. */
import { describe, expect, test } from "vitest";
import { compileOrThrow } from "../../src/config/compile.ts";
import { layerOf, layersFor } from "../../src/config/merge.ts";
import type { Config, RoutePolicy } from "../../src/config/types.ts";

const configOf = (text: string): Config => compileOrThrow(text, "p").config;

/** The policy of calls that no destination takes, with `keys` in `defaults`. */
const policyOf = (keys: string): RoutePolicy =>
  configOf(`version: 1\nfleet: { store: redis://s, rate_limit_service: "r:1" }\ndefaults: { ${keys} }`)
    .destinations[0]!.policy;

/** The policies of a destination with one route. */
function levels(defaults: string, destination: string, route: string) {
  const text = `version: 1
defaults: { ${defaults} }
destinations: [{ name: a, hosts: [x], ${destination}, routes: [{ match: { path: /r }, ${route} }] }]`;
  const [named] = configOf(text).destinations;
  return { destination: named!.policy, route: named!.routes[0]!.policy };
}

const BREAKER = {
  consecutiveFailures: 5,
  errorRatio: 0.5,
  slowCallMs: 0,
  slowRatio: 0.5,
  windowMs: 30_000,
  minCalls: 20,
  openForMs: 10_000,
  halfOpenProbes: 1,
  statuses: [500, 502, 503, 504],
  grpcStatuses: [14],
  isolated: false,
  shared: false,
};

describe("a stage that is switched on", () => {
  test.each<[string, Partial<RoutePolicy>]>([
    [
      "hedge: {}",
      {
        hedge: {
          delayMs: 0,
          percentile: 95,
          maxHedges: 1,
          methods: ["GET", "HEAD", "OPTIONS"],
          budgetRatio: 0.1,
        },
      },
    ],
    [
      "hedge: { delay: 20ms, max_hedges: 2, methods: [GET], budget_ratio: 0.5 }",
      { hedge: { delayMs: 20, percentile: 0, maxHedges: 2, methods: ["GET"], budgetRatio: 0.5 } },
    ],
    ["circuit_breaker: {}", { circuitBreaker: BREAKER }],
    [
      "circuit_breaker: { consecutive_failures: off, error_ratio: off, slow_call: 2s, slow_ratio: 0.3, window: 1m, min_calls: 3, open_for: 1s, half_open_probes: 2, on: [429, grpc_internal], shared: true }",
      {
        circuitBreaker: {
          consecutiveFailures: 0,
          errorRatio: 0,
          slowCallMs: 2000,
          slowRatio: 0.3,
          windowMs: 60_000,
          minCalls: 3,
          openForMs: 1000,
          halfOpenProbes: 2,
          statuses: [429],
          grpcStatuses: [13],
          isolated: false,
          shared: true,
        },
      },
    ],
    ["circuit_breaker: { isolated: true }", { circuitBreaker: { ...BREAKER, isolated: true } }],
    ["limits: { adaptive_concurrency: {} }", { adaptiveConcurrency: { min: 1, max: 200, queueMax: 0 } }],
    [
      "limits: { adaptive_concurrency: { min: 2, max: 3, queue: 4 } }",
      { adaptiveConcurrency: { min: 2, max: 3, queueMax: 4 } },
    ],
    ["limits: { per_invocation: { calls: 9 } }", { invocationBudget: { calls: 9, bytes: 0 } }],
    ["limits: { per_invocation: { bytes: 1KiB } }", { invocationBudget: { calls: 0, bytes: 1024 } }],
    [
      'limits: { rate: 5/s, key_header: X-Tenant, keys: 7, fleet: true, descriptors: ["a=$header:x"] }',
      {
        rateLimit: {
          perSecond: 5,
          burst: 5,
          overflow: "reject",
          keyHeader: "x-tenant",
          keysMax: 7,
          fleet: true,
          descriptors: ["a=$header:x"],
        },
      },
    ],
    [
      'fallback: { on: [500, 4xx], status: 200, content_type: text/plain, body: "later" }',
      {
        fallback: {
          statuses: [...Array.from({ length: 100 }, (_, i) => 400 + i), 500],
          status: 200,
          contentType: "text/plain",
          body: "later",
        },
      },
    ],
    [
      "fallback: { status: 204 }",
      {
        fallback: { statuses: [502, 503, 504], status: 204, contentType: "application/json", body: "" },
      },
    ],
    [
      "stale_if_error: {}",
      { staleIfError: { maxAgeMs: 300_000, bytesMax: 1_048_576, bodyBytesMax: 65_536 } },
    ],
    [
      'split: [{ host: B.Example, weight: 12.5, sticky: "header:X-Tenant" }, { host: c, port: 81, weight: 1, sticky: "header:x-tenant" }]',
      {
        split: [
          { host: "b.example", port: 0, weight: 12.5, sticky: "header:x-tenant" },
          { host: "c", port: 81, weight: 1, sticky: "header:x-tenant" },
        ],
      },
    ],
    ["split: [{ host: b, weight: 100 }]", { split: [{ host: "b", port: 0, weight: 100, sticky: "trace" }] }],
    [
      "rewrite: { path_prefix: /a, path_replacement: /, set_headers: [{ name: X-A, value: b }], remove_headers: [X-B], flags: [{ header: X-F, values: [{ value: v, weight: 1 }] }] }",
      {
        rewrite: {
          pathPrefix: "/a",
          pathReplacement: "/",
          setHeaders: [{ name: "X-A", value: "b" }],
          removeHeaders: ["x-b"],
          flags: [{ header: "X-F", values: [{ value: "v", weight: 1 }] }],
        },
      },
    ],
    [
      "mirror: { host: M.Example, percent: 0.5 }",
      {
        mirror: {
          host: "m.example",
          port: 0,
          percent: 0.5,
          bodyBytesMax: 65_536,
          concurrencyMax: 4,
          keepCredentials: false,
        },
      },
    ],
    [
      "fault: { percent: 1, delay: 1s, body_rate: 1KiB, truncate_after: 0B, expires: 2020-02-29, kill_switch: file:/tmp/off }",
      {
        fault: {
          percent: 1,
          delayMs: 1000,
          abortStatus: 0,
          reset: false,
          tlsFailure: false,
          bodyBytesPerSecond: 1024,
          truncateAfterBytes: 0,
          expiresWallMs: Date.UTC(2020, 1, 29),
          killSwitchFile: "/tmp/off",
        },
      },
    ],
    [
      'fault: { percent: 1, abort: 503, expires: "2020-01-01T02:00:00+02:00" }',
      {
        fault: expect.objectContaining({
          abortStatus: 503,
          truncateAfterBytes: -1,
          expiresWallMs: Date.UTC(2020, 0, 1),
        }),
      },
    ],
  ])("%s", (keys, expected) => {
    expect(policyOf(keys)).toMatchObject(expected);
  });
});

describe("levels of a stage that is off by default", () => {
  test("an inner level overrides key by key", () => {
    const { destination, route } = levels(
      "circuit_breaker: { open_for: 1s }",
      "circuit_breaker: { min_calls: 3 }",
      "circuit_breaker: { open_for: 2s }",
    );
    expect(destination.circuitBreaker).toEqual({ ...BREAKER, openForMs: 1000, minCalls: 3 });
    expect(route.circuitBreaker).toEqual({ ...BREAKER, openForMs: 2000, minCalls: 3 });
  });

  test("an inner level switches it off", () => {
    const { destination, route } = levels(
      "circuit_breaker: {}, hedge: {}, split: [{ host: b, weight: 1 }], limits: { per_invocation: { calls: 1 } }",
      "circuit_breaker: off, split: []",
      "hedge: off, limits: { per_invocation: off }",
    );
    expect(destination).toMatchObject({ circuitBreaker: null, hedge: { percentile: 95 }, split: [] });
    expect(route).toMatchObject({ circuitBreaker: null, hedge: null, invocationBudget: null });
  });

  test("what was switched off begins anew with its defaults", () => {
    const { route } = levels(
      "circuit_breaker: { open_for: 1s }",
      "circuit_breaker: off",
      "circuit_breaker: { min_calls: 3 }",
    );
    expect(route.circuitBreaker).toEqual({ ...BREAKER, minCalls: 3 });
  });

  test("needed keys may stand on different levels", () => {
    const { destination, route } = levels(
      "timeout: 1s",
      "mirror: { host: m, percent: 1 }",
      "mirror: { percent: 2 }",
    );
    expect(destination.mirror).toMatchObject({ host: "m", percent: 1 });
    expect(route.mirror).toMatchObject({ host: "m", percent: 2 });
  });

  test("each value knows the level it comes from, and what was switched off is not heard", () => {
    const { file } = compileOrThrow(
      `version: 1
defaults: { circuit_breaker: { open_for: 1s }, hedge: { delay: 1s } }
destinations: [{ name: a, hosts: [x], circuit_breaker: off, routes: [{ match: { path: /r }, circuit_breaker: { min_calls: 2 } }] }]`,
      "p",
    );
    const layers = layersFor(file, 0, 0);
    const keys = [
      ["circuit_breaker", "min_calls"],
      ["circuit_breaker", "open_for"],
      ["hedge", "delay"],
      ["mirror"],
    ];
    expect(keys.map((key) => layerOf(layers, key).origin)).toEqual([
      "route",
      "built-in",
      "defaults",
      "built-in",
    ]);
    const off = layersFor(file, 0, null);
    expect(layerOf(off, ["circuit_breaker"]).origin).toBe("destination");
  });
});

describe("what is no stage", () => {
  test("endpoints and their balance", () => {
    const [named, implicit] = configOf(`version: 1
destinations:
  - name: a
    hosts: [x]
    endpoints: [{ host: A.internal, port: 1 }, { host: "::1", port: 2, priority: 1, weight: 3 }]
    balance: { algorithm: round_robin, eject_after: off, eject_for: 1s, eject_percent: 100 }
`).destinations;
    expect(named).toMatchObject({
      endpoints: [
        { host: "a.internal", port: 1, priority: 0, weight: 1 },
        { host: "::1", port: 2, priority: 1, weight: 3 },
      ],
      balance: { algorithm: "round_robin", ejectAfter: 0, ejectForMs: 1000, ejectPercentMax: 100 },
    });
    expect(implicit).toMatchObject({ endpoints: [], balance: { algorithm: "least_request", ejectAfter: 5 } });
  });

  test("rules of the acl, in their order", () => {
    const { rules } = configOf(`version: 1
acl:
  rules:
    - { name: b, action: deny, hosts: ["*.X.example"], ports: [1], methods: [GET], paths: [/v1], identities: ["f-*"] }
    - { name: a, action: allow }
`).acl;
    expect(rules).toEqual([
      {
        name: "b",
        action: "deny",
        hosts: ["*.x.example"],
        ports: [1],
        methods: ["GET"],
        paths: ["/v1"],
        identities: ["f-*"],
      },
      { name: "a", action: "allow", hosts: [], ports: [], methods: [], paths: [], identities: [] },
    ]);
  });

  test("the fleet, with its defaults", () => {
    expect(configOf("version: 1\nfleet: { store: redis://cache:6379/2 }").fleet).toEqual({
      store: "redis://cache:6379/2",
      passwordEnv: "",
      prefix: "outrider:",
      timeoutMs: 100,
      onFailure: "open",
      rateLimitService: "",
      rateLimitDomain: "outrider",
    });
  });

  test("the fleet, every key stated", () => {
    const text = `version: 1
fleet: { store: "rediss://[::1]:6380", password_env: PW, prefix: "a:", timeout: 5ms, on_failure: closed, rate_limit_service: "rl.internal:8081", rate_limit_domain: d }`;
    expect(configOf(text).fleet).toEqual({
      store: "rediss://[::1]:6380",
      passwordEnv: "PW",
      prefix: "a:",
      timeoutMs: 5,
      onFailure: "closed",
      rateLimitService: "rl.internal:8081",
      rateLimitDomain: "d",
    });
  });
});
