/** Builders of resolved configuration for the tests of routing: a destination with nothing configured, and an open acl. */
import type { Acl, Destination, Route, RoutePolicy } from "../../src/config/types.ts";

/** A policy in which no stage is configured. */
export const bareRoutePolicy: RoutePolicy = {
  timeoutMs: 0,
  perTryTimeoutMs: 0,
  dnsTimeoutMs: 2000,
  connectTimeoutMs: 2000,
  tlsTimeoutMs: 5000,
  idleTimeoutMs: 60_000,
  deadlineReserveMs: 0,
  deadlineHeaders: [],
  retry: {
    maxRetries: 0,
    on: [],
    statuses: [],
    methods: [],
    idempotencyHeaders: [],
    backoffBaseMs: 50,
    backoffMaxMs: 1000,
    budgetRatio: 0.2,
    budgetFloor: 1,
    replayBufferBytes: 65_536,
  },
  rateLimit: null,
  concurrency: null,
  propagate: [],
};

/** A destination named `name` for `hosts`, changed by `changes`. */
export function destination(name: string, hosts: string[], changes: Partial<Destination> = {}): Destination {
  return {
    name,
    hosts,
    ports: [],
    access: "allow",
    allowAddresses: [],
    localPort: 0,
    upstream: null,
    tls: null,
    policy: bareRoutePolicy,
    routes: [],
    ...changes,
  };
}

/** A route for `path` and `methods`. */
export function route(path: string, methods: string[] = []): Route {
  return { match: { path, methods }, policy: bareRoutePolicy };
}

/** An acl that allows every name, denies private ranges and has no exceptions. */
export function acl(changes: Partial<Acl> = {}): Acl {
  return { default: "allow", mode: "enforce", privateRanges: "deny", allowAddresses: [], ...changes };
}
