/** Policy file → configuration: defaults, levels, numbers, version. */
import { describe, expect, test } from "vitest";
import { compileOrThrow } from "../../src/config/compile.ts";
import { layerOf, layersFor } from "../../src/config/merge.ts";
import { resolve } from "../../src/config/resolve.ts";
import type { Config, RoutePolicy } from "../../src/config/types.ts";

const configOf = (text: string): Config => compileOrThrow(text, "p").config;

/** The policies of a destination with one route, by level. */
function levels(text: string): { fallback: RoutePolicy; destination: RoutePolicy; route: RoutePolicy } {
  const [destination, fallback] = configOf(text).destinations;
  return {
    fallback: fallback!.policy,
    destination: destination!.policy,
    route: destination!.routes[0]!.policy,
  };
}

/** What is off unless some level states it. */
const NO_STAGES = {
  rateLimit: null,
  concurrency: null,
  hedge: null,
  circuitBreaker: null,
  adaptiveConcurrency: null,
  fallback: null,
  staleIfError: null,
  invocationBudget: null,
  split: [],
  rewrite: null,
  mirror: null,
  fault: null,
};

test("a policy that says nothing has the documented defaults", () => {
  expect(resolve({ version: 1 })).toEqual({
    format: 3,
    version: expect.stringMatching(/^[0-9a-f]{12}$/),
    onProxyFailure: "open",
    listen: { host: "127.0.0.1", port: 4140, transparentPort: 0 },
    limits: {
      headBytesMax: 16_384,
      headerCountMax: 128,
      targetBytesMax: 8192,
      connectionsMax: 10_000,
      tunnelsMax: 1000,
      headTimeoutMs: 10_000,
      keepAliveMs: 65_000,
      idleUpstreamMax: 256,
      handshakeTimeoutMs: 5000,
      streamsMax: 100,
      tunnelIdleMs: 3_600_000,
      exchangeBufferBytes: 65_536,
      totalBufferBytes: 67_108_864,
    },
    acl: { default: "allow", mode: "enforce", privateRanges: "allow", allowAddresses: [], rules: [] },
    fleet: null,
    destinations: [
      {
        name: "default",
        hosts: [],
        protocol: "http",
        ports: [],
        access: "allow",
        allowAddresses: [],
        localPort: 0,
        upstream: null,
        endpoints: [],
        balance: { algorithm: "least_request", ejectAfter: 5, ejectForMs: 10_000, ejectPercentMax: 100 },
        tls: null,
        httpVersion: "auto",
        policy: {
          timeoutMs: 0,
          perTryTimeoutMs: 0,
          dnsTimeoutMs: 2000,
          connectTimeoutMs: 2000,
          tlsTimeoutMs: 5000,
          idleTimeoutMs: 60_000,
          deadlineReserveMs: 100,
          deadlineHeaders: [
            { name: "grpc-timeout", format: "grpc" },
            { name: "x-envoy-expected-rq-timeout-ms", format: "milliseconds" },
          ],
          deadlinePropagateHeader: "",
          retry: {
            maxRetries: 0,
            on: ["connect_failure", "reset_before_response", "refused_stream"],
            statuses: [502, 503, 504],
            responseHeaders: [],
            grpcStatuses: [14],
            methods: ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"],
            idempotencyHeaders: ["idempotency-key", "x-idempotency-key"],
            backoffBaseMs: 50,
            backoffMaxMs: 1000,
            budgetRatio: 0.2,
            budgetFloor: 1,
            replayBufferBytes: 65_536,
          },
          ...NO_STAGES,
          propagate: ["tracecontext", "xray"],
        },
        routes: [],
      },
    ],
    telemetry: { accessLog: "all", sampleRatio: 1, summary: true, flushCapMs: 20, destination: "stdout" },
  });
});

test("every key of the file reaches the configuration", () => {
  const config = configOf(`
version: 1
on_proxy_failure: closed
listen: { port: 0, transparent_port: 15001, unsafe_bind: "::1" }
limits: { head_bytes: 32KiB, header_count: 64, target_bytes: 1kB, connections: 1, tunnels: 2, head_timeout: 1s, keep_alive: 2s, idle_upstream: 0, handshake_timeout: 1s, streams: 3, tunnel_idle: off, exchange_buffer: 16KiB, total_buffer: 1MiB }
acl: { default: deny, mode: report, private_ranges: deny, allow_addresses: [10.0.0.0/8] }
telemetry: { access_log: sampled, sample: 0.5, summary: false, propagate: [xray], flush_cap: 0ms, destination: stderr }
destinations:
  - name: a
    hosts: [API.Example, "*.B.example"]
    protocol: http
    http_version: http2
    ports: [8443]
    access: deny
    allow_addresses: ["127.0.0.1:8443"]
    local_port: 9001
    upstream: { host: Up.Example, port: 9 }
    tls: { intercept: true, client_cert: file:/c, client_key: file:/k, ca: file:/ca, server_name: SN.Example, min_version: TLSv1.3 }
    timeout: 1h
    per_try_timeout: 1m
    dns_timeout: 1ms
    connect_timeout: 2ms
    tls_timeout: 3ms
    idle_timeout: off
    deadline_reserve: 0ms
    deadline_headers: [{ name: X-Deadline, format: seconds }]
    deadline_header: X-Left
    retry:
      max_retries: 3
      on: [503, per_try_timeout, header:X-Should-Retry, grpc_aborted, "502-503", 4xx, grpc_cancelled, grpc_aborted]
      methods: [GET]
      idempotency_headers: [X-Once]
      backoff: { base: 1ms, max: 2ms }
      budget: { ratio: 0.5, floor: 0 }
      replay_buffer: 0B
    limits: { rate: 90/m, burst: 7, overflow: wait, max_concurrency: 5, queue: 6 }
    propagate: []
    routes: [{ match: { path: /v1, methods: [POST] }, timeout: 2h }]
`);
  expect(config).toMatchObject({
    onProxyFailure: "closed",
    listen: { host: "::1", port: 0, transparentPort: 15_001 },
    limits: {
      headBytesMax: 32_768,
      headerCountMax: 64,
      targetBytesMax: 1000,
      connectionsMax: 1,
      tunnelsMax: 2,
      headTimeoutMs: 1000,
      keepAliveMs: 2000,
      idleUpstreamMax: 0,
      handshakeTimeoutMs: 1000,
      streamsMax: 3,
      tunnelIdleMs: 0,
      exchangeBufferBytes: 16_384,
      totalBufferBytes: 1_048_576,
    },
    acl: { default: "deny", mode: "report", privateRanges: "deny", allowAddresses: ["10.0.0.0/8"] },
    telemetry: {
      accessLog: "sampled",
      sampleRatio: 0.5,
      summary: false,
      flushCapMs: 0,
      destination: "stderr",
    },
  });
  expect(config.destinations[0]).toEqual({
    name: "a",
    hosts: ["api.example", "*.b.example"],
    protocol: "http",
    ports: [8443],
    access: "deny",
    allowAddresses: ["127.0.0.1:8443"],
    localPort: 9001,
    upstream: { host: "up.example", port: 9 },
    endpoints: [],
    balance: expect.objectContaining({ algorithm: "least_request" }),
    tls: {
      originate: true,
      intercept: true,
      clientCert: "file:/c",
      clientKey: "file:/k",
      ca: "file:/ca",
      serverName: "sn.example",
      minVersion: "TLSv1.3",
    },
    httpVersion: "http2",
    policy: {
      timeoutMs: 3_600_000,
      perTryTimeoutMs: 60_000,
      dnsTimeoutMs: 1,
      connectTimeoutMs: 2,
      tlsTimeoutMs: 3,
      idleTimeoutMs: 0,
      deadlineReserveMs: 0,
      deadlineHeaders: [{ name: "x-deadline", format: "seconds" }],
      deadlinePropagateHeader: "x-left",
      ...NO_STAGES,
      retry: {
        maxRetries: 3,
        on: ["per_try_timeout"],
        statuses: [...Array.from({ length: 100 }, (_, i) => 400 + i), 502, 503],
        grpcStatuses: [1, 10],
        responseHeaders: ["x-should-retry"],
        methods: ["GET"],
        idempotencyHeaders: ["x-once"],
        backoffBaseMs: 1,
        backoffMaxMs: 2,
        budgetRatio: 0.5,
        budgetFloor: 0,
        replayBufferBytes: 0,
      },
      rateLimit: {
        perSecond: 1.5,
        burst: 7,
        overflow: "wait",
        keyHeader: "",
        keysMax: 1000,
        fleet: false,
        descriptors: [],
      },
      concurrency: { max: 5, queueMax: 6 },
      propagate: [],
    },
    routes: [
      {
        match: { path: "/v1", methods: ["POST"] },
        policy: expect.objectContaining({ timeoutMs: 7_200_000 }),
      },
    ],
  });
});

describe("levels", () => {
  test("a scalar of an inner level overrides the outer one's", () => {
    const { fallback, destination, route } = levels(`
version: 1
defaults: { timeout: 1s, connect_timeout: 1s }
destinations: [{ name: a, hosts: [x], timeout: 2s, routes: [{ match: { path: /r }, timeout: off }] }]
`);
    expect([fallback, destination, route].map((policy) => policy.timeoutMs)).toEqual([1000, 2000, 0]);
    expect([fallback, destination, route].map((policy) => policy.connectTimeoutMs)).toEqual([
      1000, 1000, 1000,
    ]);
  });

  test("a list replaces, it does not add", () => {
    const { fallback, destination, route } = levels(`
version: 1
defaults: { retry: { on: [500] } }
destinations: [{ name: a, hosts: [x], retry: { on: [502, reset_before_response] }, routes: [{ match: { path: /r }, retry: { on: [] } }] }]
`);
    expect([fallback, destination, route].map(({ retry }) => retry.statuses)).toEqual([[500], [502], []]);
    expect([fallback, destination, route].map(({ retry }) => retry.on)).toEqual([
      [],
      ["reset_before_response"],
      [],
    ]);
  });

  test("a mapping is merged key by key, at any depth", () => {
    const { destination, route } = levels(`
version: 1
defaults: { retry: { max_retries: 1, backoff: { base: 10ms } } }
destinations: [{ name: a, hosts: [x], retry: { backoff: { max: 20ms } }, routes: [{ match: { path: /r }, retry: { max_retries: 0 } }] }]
`);
    expect(destination.retry).toMatchObject({
      maxRetries: 1,
      backoffBaseMs: 10,
      backoffMaxMs: 20,
      budgetRatio: 0.2,
    });
    expect(route.retry).toMatchObject({ maxRetries: 0, backoffBaseMs: 10, backoffMaxMs: 20 });
  });

  test("a limit of the defaults is switched off by an inner level", () => {
    const { fallback, destination, route } = levels(`
version: 1
defaults: { limits: { rate: 10/s, max_concurrency: 3 } }
destinations: [{ name: a, hosts: [x], limits: { rate: off }, routes: [{ match: { path: /r }, limits: { max_concurrency: off } }] }]
`);
    expect(fallback.rateLimit).toMatchObject({ perSecond: 10, burst: 10, overflow: "reject" });
    expect(destination).toMatchObject({ rateLimit: null, concurrency: { max: 3, queueMax: 0 } });
    expect(route).toMatchObject({ rateLimit: null, concurrency: null });
  });

  test("trace formats come from telemetry unless a destination or a route states its own", () => {
    const { fallback, destination, route } = levels(`
version: 1
telemetry: { propagate: [xray] }
destinations: [{ name: a, hosts: [x], propagate: [tracecontext], routes: [{ match: { path: /r }, propagate: [] }] }]
`);
    expect([fallback, destination, route].map(({ propagate }) => propagate)).toEqual([
      ["xray"],
      ["tracecontext"],
      [],
    ]);
  });

  test("each value knows the level it comes from", () => {
    const { file } = compileOrThrow(
      `
version: 1
telemetry: { propagate: [xray] }
defaults: { timeout: 1s, retry: { max_retries: 1 } }
destinations: [{ name: a, hosts: [x], retry: { backoff: { max: 2s } }, routes: [{ match: { path: /r }, retry: { max_retries: 2 } }] }]
`,
      "p",
    );
    const layers = layersFor(file, 0, 0);
    const origins = [
      ["timeout"],
      ["retry", "max_retries"],
      ["retry", "backoff", "max"],
      ["retry", "backoff", "base"],
      ["propagate"],
    ];
    expect(origins.map((key) => layerOf(layers, key).origin)).toEqual([
      "defaults",
      "route",
      "destination",
      "built-in",
      "telemetry",
    ]);
  });
});

describe("defaults made from other keys", () => {
  test.each([
    ["hosts: [x], local_port: 9001", { host: "x", port: 80 }],
    ["hosts: [x], local_port: 9001, tls: { originate: true }", { host: "x", port: 443 }],
    ["hosts: [x], local_port: 9001, tls: { originate: false }", { host: "x", port: 80 }],
    ["hosts: [x], local_port: 9001, ports: [8443]", { host: "x", port: 8443 }],
    ["hosts: [x], local_port: 9001, ports: [80], tls: { originate: true }", { host: "x", port: 443 }],
    ["hosts: [x], local_port: 9001, ports: [1, 2]", { host: "x", port: 80 }],
    ["hosts: ['*.x'], upstream: { host: y }, tls: { ca: file:/ca }", { host: "y", port: 443 }],
    ["hosts: [x], upstream: { host: y, port: 1 }", { host: "y", port: 1 }],
    ["hosts: [x]", null],
    ["hosts: [x], tls: { originate: true }", null],
  ])("upstream of { %s }", (keys, upstream) => {
    expect(configOf(`version: 1\ndestinations: [{ name: a, ${keys} }]`).destinations[0]!.upstream).toEqual(
      upstream,
    );
  });

  test.each([
    ["100/s", 100],
    ["90/m", 2],
    ["1/h", 1],
  ])("burst of %s", (rate, burst) => {
    expect(
      configOf(`version: 1\ndefaults: { limits: { rate: ${rate} } }`).destinations[0]!.policy.rateLimit!
        .burst,
    ).toBe(burst);
  });

  test.each([
    ["access_log: all", 1],
    ["access_log: sampled", 0.1],
    ["access_log: sampled, sample: 0", 0],
    ["access_log: all, sample: 0.5", 1],
  ])("sample of { %s }", (keys, ratio) => {
    expect(configOf(`version: 1\ntelemetry: { ${keys} }`).telemetry.sampleRatio).toBe(ratio);
  });
});
