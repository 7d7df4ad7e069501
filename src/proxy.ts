/**
 * The story of a call, and the only file that joins the rooms. It holds no logic.
 *
 *   application ─▶ listener ─▶ capture ─▶ router ─▶ telemetry │ admit │ policies ─▶ upstream ─▶ network
 */
import type { Clock } from "./clock.ts";
import type { Config } from "./config/types.ts";
import type { Fleet } from "./fleet/fleet.ts";
import { sharedOf } from "./fleet/shared-of.ts";
import type { Lifecycle } from "./lifecycle.ts";
import type { Interception } from "./listener/context.ts";
import { Listener } from "./listener/listener.ts";
import type { BoundRole } from "./listener/plan.ts";
import { policyChain } from "./policy/chain.ts";
import { endpointSets } from "./policy/endpoints.ts";
import { admitAddress, compileAddressGuard } from "./route/admit.ts";
import { LoopGuard } from "./route/loop.ts";
import { type ChainFor, createRouter } from "./route/router.ts";
import { createTelemetry, type Telemetry } from "./telemetry/telemetry.ts";
import type { Resolver } from "./upstream/resolve.ts";
import { createTlsClients } from "./upstream/tls.ts";
import { Upstream } from "./upstream/upstream.ts";

export { faultsAllowed } from "./policy/fault-permission.ts";

/** What a host gives the proxy. */
export interface ProxyParts {
  readonly clock: Clock;
  readonly lifecycle: Lifecycle;
  /** Sockets that are bound already; connections may be waiting in them. */
  readonly bindings: readonly BoundRole[];
  /** Ports of this process besides those of `bindings`: no call may reach them either. */
  readonly ownPorts?: () => readonly number[];
  /**
   * Told of a destination whose certificate or trust cannot be used, when the others are to be served all the same: its calls
   * then fail with IDENTITY_UNAVAILABLE. Without it `createProxy` throws.
   */
  readonly reportBroken?: (problem: Error) => void;
  /** Name of the function or service whose calls these are, for `acl.rules` (default: none). */
  readonly identity?: string;
  /** The environment allows faults on purpose (default: no). */
  readonly faultsAllowed?: boolean;
  /** Calls to addresses nearby are marked, so that one that comes back is refused (default: yes). */
  readonly detectLoops?: boolean;
  /** What sandboxes share; without it every limit and breaker is this sandbox's own. */
  readonly fleet?: Fleet;
  /** Signs for the servers whose TLS is opened; without it every TLS tunnel passes unread. */
  readonly authority?: Pick<Interception, "contextFor">;
  /** How names become addresses; the system's way unless given. */
  readonly resolver?: Resolver;
}

/** A proxy that serves. */
export interface Proxy {
  readonly telemetry: Telemetry;
  readonly listener: Listener;
  readonly upstream: Upstream;
}

/**
 * Joins the rooms and serves.
 * @throws TlsFileError when a certificate of the policy cannot be used and there is no `reportBroken`; nothing serves then
 */
export function createProxy(config: Config, parts: ProxyParts): Proxy {
  const { limits, destinations, acl } = config;
  const { clock, lifecycle, bindings, ownPorts, authority, resolver, fleet } = parts;

  // The network: one door, which asks the guard about every address before it is dialled.
  const guard = compileAddressGuard(
    acl,
    destinations,
    () => new Set([...listener.ports(), ...(ownPorts?.() ?? [])]),
  );
  const loop = new LoopGuard(parts.detectLoops ?? true);
  const upstream = new Upstream({
    limits,
    clock,
    markFor: (address) => loop.markFor(address),
    ...(resolver === undefined ? {} : { resolver }),
  });
  const tlsOf = createTlsClients(destinations, parts.reportBroken ?? null);

  // What is noted about a call, from outside of everything that may refuse it.
  const telemetry = createTelemetry(config.telemetry, { clock, lifecycle, version: config.version });

  // One chain per destination and route, first written outermost.
  const endpointsOf = endpointSets(destinations);
  const chainFor: ChainFor = (destination, route, policy) => ({
    outside: telemetry.observe(destination.name, route === null ? "" : route.match.path),
    inside: policyChain(policy, {
      clock,
      lifecycle,
      endpoints: endpointsOf(destination),
      faultsAllowed: parts.faultsAllowed ?? false,
      ...sharedOf(fleet, destination, route),
    }),
    send: upstream.sender({
      address: destination.upstream,
      originate: destination.tls?.originate ?? false,
      tunnelOverTls: destination.protocol === "tcp" && (destination.tls?.originate ?? false),
      httpVersion: destination.httpVersion,
      tls: tlsOf(destination),
      policy,
      vet: (address, port) => admitAddress(guard, address, port, destination)?.rule ?? null,
    }),
  });
  const { send, destinationFor, admits } = createRouter(
    destinations,
    acl,
    chainFor,
    parts.identity ?? "",
    (fields) => loop.hasPassed(fields),
  );

  // TLS that the application speaks is opened for the destinations that say so, by whoever can sign for them.
  const interception =
    authority === undefined
      ? null
      : {
          covers: (host: string, port: number) => destinationFor(host, port).tls?.intercept ?? false,
          contextFor: (name: string) => authority.contextFor(name),
          refused: (host: string, reason: string) => telemetry.interceptionRefused(host, reason),
        };

  const listener = new Listener({
    limits,
    idleTimeoutMs: destinations.at(-1)!.policy.idleTimeoutMs,
    clock,
    send,
    admits,
    interception,
    upstreamBufferedBytes: () => upstream.bufferedBytes(),
  });

  // A thaw: idle connections slept as long as the sandbox did. The end: calls in flight first, then their connections.
  lifecycle.subscribe({
    workStarted: (_work, idleMs) => upstream.thawed(idleMs),
    draining: async (deadlineMs) => {
      await listener.drain(deadlineMs);
      upstream.destroy();
      fleet?.close();
    },
  });
  if (fleet !== undefined) lifecycle.subscribe(fleet.lifecycle);
  for (const { binding, role } of bindings) listener.serve(binding, role);
  return { telemetry, listener, upstream };
}
