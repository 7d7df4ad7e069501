/** Builders of resolved configuration for the tests of routing: a destination with nothing configured, and an open acl. */
import type { Acl, Destination, Route } from "../../src/config/types.ts";
import { routePolicy } from "../policy/calls.ts";

/** A destination named `name` for `hosts`, changed by `changes`. */
export function destination(name: string, hosts: string[], changes: Partial<Destination> = {}): Destination {
  return {
    name,
    hosts,
    protocol: "http",
    ports: [],
    access: "allow",
    allowAddresses: [],
    localPort: 0,
    upstream: null,
    endpoints: [],
    balance: { algorithm: "least_request", ejectAfter: 5, ejectForMs: 10_000, ejectPercentMax: 50 },
    tls: null,
    httpVersion: "auto",
    policy: routePolicy(),
    routes: [],
    ...changes,
  };
}

/** A route for `path` and `methods`. */
export function route(path: string, methods: string[] = []): Route {
  return { match: { path, methods }, policy: routePolicy() };
}

/** An acl that allows every name, denies private ranges and has no exceptions. */
export function acl(changes: Partial<Acl> = {}): Acl {
  return {
    default: "allow",
    mode: "enforce",
    privateRanges: "deny",
    allowAddresses: [],
    rules: [],
    ...changes,
  };
}
