/** Every error that the data path can answer with, as the application sees it: status, code, and a body that tells nothing else. */
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import type { PolicyFile } from "../../src/config/schema.ts";
import { ERROR_CODES, type ErrorCode } from "../../src/errors.ts";
import { Lifecycle } from "../../src/lifecycle.ts";
import { bind } from "../../src/listener/bind.ts";
import { createProxy } from "../../src/proxy.ts";
import { Resolver } from "../../src/upstream/resolve.ts";
import { certificate } from "../kit/certificates.ts";
import { passUntil } from "../kit/eventually.ts";
import { field, type ResponseMessage } from "../kit/message.ts";
import {
  answer,
  type Origin,
  ok,
  reset,
  type Step,
  scriptedOrigin,
  silence,
  speakFirst,
} from "../kit/origin.ts";
import { get, post, startProxy, type TestProxy, testConfig } from "../kit/proxy.ts";
import { askOnce } from "../kit/raw-client.ts";

/** How a call comes to fail. */
interface Failing {
  readonly policy?: Omit<PolicyFile, "version">;
  readonly script?: readonly Step[];
  readonly lookup?: () => Promise<readonly { address: string; family: 4 | 6 }[]>;
  /** The origin speaks TLS. */
  readonly secure?: boolean;
  /** What is sent; a GET of the origin unless given. */
  readonly request?: (origin: Origin) => string;
  /** Before the request, for instance a call that uses something up. */
  readonly before?: (proxy: TestProxy, origin: Origin) => Promise<unknown>;
  /** Behind the request. */
  readonly after?: (proxy: TestProxy) => void;
}

const nothing = () => new Promise<never>(() => {});
const named = (origin: Origin, scheme = "http"): string =>
  `GET ${scheme}://name.test:${origin.port}/ HTTP/1.1\r\nHost: x\r\n\r\n`;
const loopback = async () => [{ address: "127.0.0.1", family: 4 as const }];
const withLine = (line: string) => () => `${line}\r\nHost: a.test\r\n\r\n`;
const withField = (line: string) => (origin: Origin) => get(origin, "/", `${line}\r\n`);

const FAILING: Readonly<Partial<Record<ErrorCode, Failing>>> = {
  BAD_REQUEST: { request: withField("Bad Name: x") },
  BAD_TARGET: { request: withLine("GET / HTTP/1.1") },
  MISDIRECTED: {
    request: (origin) =>
      `CONNECT ${origin.authority} HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: b.test\r\n\r\n`,
  },
  HEAD_TIMEOUT: { request: () => "GET http://a.test/ HTTP/1.1\r\nHos" },
  BODY_TIMEOUT: { request: (origin) => post(origin, "abc").slice(0, -1) },
  TARGET_TOO_LONG: { request: withLine(`GET http://a.test/${"x".repeat(9000)} HTTP/1.1`) },
  EXPECTATION_FAILED: { request: withField("Expect: a-miracle") },
  HEAD_TOO_LARGE: { request: withField(`X: ${"x".repeat(17_000)}`) },
  CODING_UNSUPPORTED: { request: withField("Transfer-Encoding: gzip, chunked") },
  VERSION_UNSUPPORTED: { request: withLine("GET http://a.test/ HTTP/2.0") },
  DENIED: { policy: { acl: { default: "deny" } } },
  ADDRESS_DENIED: { lookup: async () => [{ address: "169.254.169.254", family: 4 }], request: named },
  RATE_LIMITED: {
    policy: { defaults: { limits: { rate: "1/h", burst: 1 } } },
    before: (proxy, origin) => proxy.get(origin),
  },
  CONCURRENCY_LIMITED: {
    policy: { defaults: { limits: { max_concurrency: 1 } } },
    script: [silence()],
    before: beginCall,
  },
  OVERLOADED: { policy: { limits: { connections: 1 } }, before: (proxy) => proxy.client() },
  DRAINING: {
    request: () => "GET http://a.test/ HTTP/1.1\r\nHos",
    after: (proxy) => void proxy.lifecycle.drain(Number.POSITIVE_INFINITY),
  },
  INTERNAL: {
    lookup: () => {
      throw new TypeError("cannot read 127.0.0.1");
    },
    request: named,
  },
  DEADLINE_EXCEEDED: { policy: { defaults: { timeout: "5s" } }, script: [silence()] },
  PER_TRY_TIMEOUT: { policy: { defaults: { per_try_timeout: "5s" } }, script: [silence()] },
  DNS_FAILED: { lookup: async () => [], request: named },
  DNS_TIMEOUT: { lookup: nothing, request: named },
  CONNECT_FAILED: { before: (_proxy, origin) => origin[Symbol.asyncDispose]() },
  TLS_FAILED: {
    lookup: loopback,
    request: (origin) => named(origin, "https"),
    script: [speakFirst("no TLS\r\n")],
  },
  TLS_TIMEOUT: { lookup: loopback, request: (origin) => named(origin, "https"), script: [speakFirst("")] },
  CERTIFICATE_REJECTED: { lookup: loopback, request: (origin) => named(origin, "https"), secure: true },
  UPSTREAM_RESET: { script: [reset()] },
  UPSTREAM_INVALID: { script: [answer("HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n")] },
  UPSTREAM_TIMEOUT: { script: [silence()] },
};

/** Codes that no answer of the whole proxy carries here, and why. */
const ELSEWHERE: Readonly<Partial<Record<ErrorCode, string>>> = {
  CLIENT_GONE: "nobody is there to be answered",
  SUPERSEDED: "ends an attempt, never a call: hedge.test.ts",
  CIRCUIT_OPEN: "takes an upstream that failed before: circuit-breaker.test.ts",
  BUDGET_SPENT: "takes a call before it: invocation-budget.test.ts",
  LOOP_DETECTED: "takes another proxy: loop.test.ts",
  FAULT_INJECTED: "takes an environment that allows it: fault-injection.test.ts",
  UPSTREAM_ABORTED: "the answer has begun: it breaks off",
  TUNNEL_IDLE: "nobody waits for an answer: tunnels.test.ts",
  STREAM_REFUSED: "takes an upstream that speaks HTTP/2: http2-upstream.test.ts",
  VERSION_REFUSED: "takes an upstream that does not: http2-upstream.test.ts",
  CONNECT_TIMEOUT: "takes a port that does not answer: connecting.test.ts",
  IDENTITY_UNAVAILABLE: "takes a host that serves with a broken certificate; see below",
};

async function beginCall(proxy: TestProxy, origin: Origin): Promise<void> {
  const client = await proxy.client();
  await client.write(get(origin));
  await origin.connected(1);
}

async function failed(failing: Failing): Promise<ResponseMessage> {
  const clock = new VirtualClock();
  const tls = failing.secure ? { tls: certificate("untrusted") } : {};
  await using origin = await scriptedOrigin(failing.script ?? [ok()], tls);
  const { policy = {}, lookup } = failing;
  await using proxy = await startProxy({ clock, policy, ...(lookup === undefined ? {} : { lookup }) });
  const request = (failing.request ?? get)(origin);
  await failing.before?.(proxy, origin);
  using client = await proxy.client();
  await client.write(request);
  await new Promise((resolve) => setTimeout(resolve, 20));
  failing.after?.(proxy);
  if (request.startsWith("CONNECT")) await client.response("CONNECT");
  return (await passUntil(clock, client.response())).value;
}

function expectStatic(response: ResponseMessage, code: ErrorCode): void {
  const { status, stage, meaning } = ERROR_CODES[code];
  expect([response.status, field(response, "outrider-error")]).toEqual([status, code]);
  const text = response.body.toString();
  const id = /([0-9a-z]+-[0-9a-z]+)\]\n$/.exec(text)?.[1];
  expect(text).toBe(`outrider: ${stage}: ${meaning} [${code} ${id}]\n`);
  expect(response.head + text).not.toMatch(/127\.0\.0\.1|169\.254|[a-z]\.test|\/no\/such/);
  expect(field(response, "cache-control")).toBe("no-store");
}

describe("the answer that is an error of the proxy's own says so by status, code and a static body:", () => {
  test.each(Object.entries(FAILING) as [ErrorCode, Failing][])("%s", async (code, failing) => {
    expectStatic(await failed(failing), code);
  });

  test("and there is no code that this list forgets", () => {
    const known = [...Object.keys(FAILING), ...Object.keys(ELSEWHERE)];
    expect(known.sort()).toEqual(Object.keys(ERROR_CODES).sort());
  });
});

test("IDENTITY_UNAVAILABLE: a certificate that cannot be loaded, where the host serves all the same", async () => {
  const clock = new VirtualClock();
  const lifecycle = new Lifecycle(clock);
  const ca = "file:/no/such/ca.pem";
  const config = testConfig({ destinations: [{ name: "mutual", hosts: ["a.test"], tls: { ca } }] });
  const binding = await bind("127.0.0.1", 0);
  const problems: Error[] = [];
  const { listener } = createProxy(config, {
    clock,
    lifecycle,
    bindings: [{ binding, role: { kind: "proxy" } }],
    resolver: new Resolver(clock, loopback),
    reportBroken: (problem) => problems.push(problem),
  });
  const request = "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n";
  expectStatic(await askOnce(binding.port, request), "IDENTITY_UNAVAILABLE");
  expect(problems.map(({ message }) => message)).toEqual([expect.stringContaining("/no/such/ca.pem")]);
  await listener.drain(clock.now());
});

test("an error in answer to HEAD has the length of its body and no body", async () => {
  await using proxy = await startProxy({ policy: { acl: { default: "deny" } } });
  using client = await proxy.client();
  for (let call = 0; call < 2; call++) {
    const response = await client.ask("HEAD http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n");
    expect([response.status, Number(field(response, "content-length")) > 0]).toEqual([403, true]);
  }
  expect(client.unread).toBe("");
});

test("after an error of its destination the connection serves the next request, each with an id of its own", async () => {
  await using origin = await scriptedOrigin([ok("fine")]);
  await using proxy = await startProxy({ lookup: async () => [] });
  using client = await proxy.client();
  const bodies: string[] = [];
  for (let call = 0; call < 2; call++) bodies.push((await client.ask(named(origin))).body.toString());
  expect(new Set(bodies).size).toBe(2);
  expect((await client.ask(get(origin))).body.toString()).toBe("fine");
});

test("after an error of its form the connection ends", async () => {
  await using proxy = await startProxy();
  using client = await proxy.client();
  const response = await client.ask("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
  expect(field(response, "connection")).toBe("close");
  expect(await client.gone()).toBe("end");
});
