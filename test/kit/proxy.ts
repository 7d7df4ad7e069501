/** A proxy in this process, for one test: a policy file's content in, a port to call out. */
import { type Clock, systemClock, VirtualClock } from "../../src/clock.ts";
import { resolve } from "../../src/config/resolve.ts";
import type { PolicyFile } from "../../src/config/schema.ts";
import type { Config } from "../../src/config/types.ts";
import { createFleet, type Fleet } from "../../src/fleet/fleet.ts";
import { type Authority, createAuthority } from "../../src/identity/authority.ts";
import { intercepts } from "../../src/identity/intercepts.ts";
import { Lifecycle } from "../../src/lifecycle.ts";
import { bind } from "../../src/listener/bind.ts";
import { listenPlan } from "../../src/listener/plan.ts";
import { createProxy } from "../../src/proxy.ts";
import { type Lookup, lookupBySystem, Resolver } from "../../src/upstream/resolve.ts";
import type { ResponseMessage } from "./message.ts";
import type { Origin } from "./origin.ts";
import { askOnce, type Client, rawClient } from "./raw-client.ts";

/** Everything has a default. */
export interface ProxyOptions {
  /** The policy file; loopback addresses are admitted besides. */
  readonly policy?: Omit<PolicyFile, "version">;
  readonly clock?: Clock;
  /** Instead of the system's resolver. */
  readonly lookup?: Lookup;
  /** See `ProxyParts.detectLoops`; not unless given. */
  readonly detectLoops?: boolean;
  /** Who signs when the policy intercepts; made here unless given. */
  readonly authority?: Authority;
}

type ServingProxy = ReturnType<typeof createProxy>;

interface ClockAndLifecycle {
  readonly clock: Clock;
  readonly lifecycle: Lifecycle;
}

/** See the file's header. Made by `startProxy`. */
export class TestProxy {
  readonly port: number;
  /** By name of their destination. */
  readonly localPorts: ReadonlyMap<string, number>;
  readonly lifecycle: Lifecycle;
  readonly proxy: ServingProxy;
  /** `null` when the policy intercepts nothing. */
  readonly authority: Authority | null;
  /** `null` when the policy names none. */
  readonly fleet: Fleet | null;
  readonly #clock: Clock;

  constructor(
    port: number,
    localPorts: ReadonlyMap<string, number>,
    proxy: ServingProxy,
    parts: ClockAndLifecycle,
    authority: Authority | null,
    fleet: Fleet | null,
  ) {
    this.port = port;
    this.localPorts = localPorts;
    this.proxy = proxy;
    this.authority = authority;
    this.fleet = fleet;
    this.lifecycle = parts.lifecycle;
    this.#clock = parts.clock;
  }

  /** An open connection to the proxy's port. */
  client(): Promise<Client> {
    return rawClient(this.port);
  }

  /** One request on a connection of its own, as exact bytes. */
  ask(request: string): Promise<ResponseMessage> {
    return askOnce(this.port, request);
  }

  /** GET of `path` at `origin`, on a connection of its own. */
  get(origin: Origin, path = "/"): Promise<ResponseMessage> {
    return this.ask(get(origin, path));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxy.listener.drain(this.#clock.now());
    this.proxy.upstream.destroy();
    this.fleet?.close();
  }
}

/** An absolute-form GET, with more fields if wanted (`Name: value\r\n` each). */
export const get = (origin: Origin, path = "/", fields = ""): string =>
  `GET http://${origin.authority}${path} HTTP/1.1\r\nHost: ${origin.authority}\r\n${fields}\r\n`;

/** An absolute-form POST with `body` and its length. */
export const post = (origin: Origin, body: string, fields = "", path = "/"): string =>
  `POST http://${origin.authority}${path} HTTP/1.1\r\nHost: ${origin.authority}\r\n` +
  `Content-Length: ${body.length}\r\n${fields}\r\n${body}`;

/** The configuration that `policy` resolves to: loopback admitted, and nothing added to requests unless asked for. */
export function testConfig(policy: Omit<PolicyFile, "version"> = {}): Config {
  const allowed = ["127.0.0.0/8", "::1/128", ...(policy.acl?.allow_addresses ?? [])];
  return resolve({
    version: 1,
    ...policy,
    acl: { ...policy.acl, allow_addresses: allowed },
    telemetry: { propagate: [], ...policy.telemetry },
  });
}

/** In virtual time the store goes by it as well. */
const fleetParts = (clock: Clock) => ({
  clock,
  password: "",
  identity: "",
  ...(clock instanceof VirtualClock ? { storeMs: () => clock.wall() } : {}),
});

/** Serves on free loopback ports. */
export async function startProxy(options: ProxyOptions = {}): Promise<TestProxy> {
  const config = testConfig(options.policy);
  const clock = options.clock ?? systemClock;
  const lifecycle = new Lifecycle(clock);
  const bindings = await Promise.all(
    listenPlan(config).map(async ({ role }) => ({ role, binding: await bind("127.0.0.1", 0) })),
  );
  const resolver = new Resolver(clock, options.lookup ?? lookupBySystem);
  const authority = options.authority ?? (intercepts(config) ? createAuthority(clock) : null);
  const fleet = config.fleet === null ? null : createFleet(config.fleet, fleetParts(clock));
  const proxy = createProxy(config, {
    clock,
    lifecycle,
    bindings,
    resolver,
    // Every origin of a test is nearby, and gets exactly the bytes that it was sent.
    detectLoops: options.detectLoops ?? false,
    ...(authority === null ? {} : { authority }),
    ...(fleet === null ? {} : { fleet }),
  });
  lifecycle.ready();
  const localPorts = new Map(
    bindings.flatMap(({ role, binding }) =>
      role.kind === "local" || role.kind === "tcp" ? [[role.destination, binding.port] as const] : [],
    ),
  );
  return new TestProxy(bindings[0]!.binding.port, localPorts, proxy, { clock, lifecycle }, authority, fleet);
}
