/** A proxy in this process, for one test: a policy file's content in, a port to call out. */
import { type Clock, systemClock } from "../../src/clock.ts";
import { resolve } from "../../src/config/resolve.ts";
import type { PolicyFile } from "../../src/config/schema.ts";
import type { Config } from "../../src/config/types.ts";
import type { Send } from "../../src/exchange.ts";
import { bind } from "../../src/listener/bind.ts";
import { Listener } from "../../src/listener/listener.ts";
import { listenPlan } from "../../src/listener/plan.ts";
import { admitAddress, compileAddressGuard } from "../../src/route/admit.ts";
import { compileMatcher, matchDestination } from "../../src/route/match.ts";
import { type Lookup, lookupBySystem, Resolver } from "../../src/upstream/resolve.ts";
import { createTlsClient, PLAIN_TLS } from "../../src/upstream/tls.ts";
import { Upstream } from "../../src/upstream/upstream.ts";
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
}

/** See the file's header. Made by `startProxy`. */
export class TestProxy {
  readonly port: number;
  /** By name of their destination. */
  readonly localPorts: ReadonlyMap<string, number>;
  readonly listener: Listener;
  readonly upstream: Upstream;
  readonly #clock: Clock;

  constructor(parts: Pick<TestProxy, "port" | "localPorts" | "listener" | "upstream">, clock: Clock) {
    this.port = parts.port;
    this.localPorts = parts.localPorts;
    this.listener = parts.listener;
    this.upstream = parts.upstream;
    this.#clock = clock;
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
    await this.listener.drain(this.#clock.now());
    this.upstream.destroy();
  }
}

/** An absolute-form GET, with more fields if wanted (`Name: value\r\n` each). */
export const get = (origin: Origin, path = "/", fields = ""): string =>
  `GET http://${origin.authority}${path} HTTP/1.1\r\nHost: ${origin.authority}\r\n${fields}\r\n`;

/** An absolute-form POST with `body` and its length. */
export const post = (origin: Origin, body: string, fields = "", path = "/"): string =>
  `POST http://${origin.authority}${path} HTTP/1.1\r\nHost: ${origin.authority}\r\n` +
  `Content-Length: ${body.length}\r\n${fields}\r\n${body}`;

/** The configuration that `policy` resolves to, loopback admitted. */
export function testConfig(policy: Omit<PolicyFile, "version"> = {}): Config {
  const allowed = ["127.0.0.0/8", "::1/128", ...(policy.acl?.allow_addresses ?? [])];
  return resolve({ version: 1, ...policy, acl: { ...policy.acl, allow_addresses: allowed } });
}

/** Serves on free loopback ports. */
export async function startProxy(options: ProxyOptions = {}): Promise<TestProxy> {
  const config = testConfig(options.policy);
  const clock = options.clock ?? systemClock;
  const plan = listenPlan(config);
  const bindings = await Promise.all(
    plan.map(async ({ role }) => ({ role, binding: await bind("127.0.0.1", 0) })),
  );
  const upstream = new Upstream({
    limits: config.limits,
    clock,
    resolver: new Resolver(clock, options.lookup ?? lookupBySystem),
  });
  const listener = new Listener({
    limits: config.limits,
    idleTimeoutMs: config.destinations.at(-1)!.policy.idleTimeoutMs,
    clock,
    send: sendVia(config, upstream, () => listener.ports()),
  });
  for (const { binding, role } of bindings) listener.serve(binding, role);
  const localPorts = new Map(
    bindings.flatMap(({ role, binding }) =>
      role.kind === "local" ? [[role.destination, binding.port] as const] : [],
    ),
  );
  return new TestProxy({ port: bindings[0]!.binding.port, localPorts, listener, upstream }, clock);
}

function sendVia(config: Config, upstream: Upstream, ownPorts: () => ReadonlySet<number>): Send {
  const matcher = compileMatcher(config.destinations);
  const guard = compileAddressGuard(config.acl, config.destinations, ownPorts);
  const sends = new Map(
    config.destinations.map((destination) => {
      const tls = createTlsClient(destination.name, destination.tls ?? PLAIN_TLS);
      const send = upstream.sender({
        address: destination.upstream,
        tls: () => tls,
        policy: destination.policy,
        vet: (address, port) => admitAddress(guard, address, port, destination)?.rule ?? null,
      });
      const originate: Send =
        destination.tls === null ? send : (request) => send(request.with({ scheme: "https" }));
      return [destination, originate] as const;
    }),
  );
  return (request) => sends.get(matchDestination(matcher, request.host, request.port))!(request);
}
