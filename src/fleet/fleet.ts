/**
 * What this sandbox has in common with the others of its kind: shares of rates, breakers, a service that judges rates. Joins the files of
 * this room; does nothing before the first call or invocation, and has no timer that runs while nothing happens.
 */
import { createHash, randomInt, randomUUID } from "node:crypto";
import type { Clock } from "../clock.ts";
import type { FleetOptions } from "../config/types.ts";
import type { LifecycleListener } from "../lifecycle.ts";
import type { BreakerStore } from "../policy/breaker-store.ts";
import type { FleetRates } from "../policy/rate-source.ts";
import { LeasedTokens } from "./leased-tokens.ts";
import { Reachability, type Report } from "./reachability.ts";
import { rlsJudge } from "./rls-judge.ts";
import { LEASE_MS } from "./share.ts";
import { SharedBreakers } from "./shared-breakers.ts";
import { RedisStore, storeAddress } from "./store.ts";

/** Sources that are refreshed when an invocation begins: those that asked last. The others ask when they are called. */
const REFRESHED_MAX = 16;

/** A pause between two invocations after which connections are made anew, milliseconds: as those to upstreams (most NATs forget later). */
const CONNECTION_PAUSE_MS = 4000;

/** What a fleet is made with. */
export interface FleetParts {
  readonly clock: Clock;
  /** The store's password; "" for none. */
  readonly password: string;
  /** What `$identity` stands for in descriptors. */
  readonly identity: string;
  /** Told when the store or the service cannot be used, and when it can again. */
  readonly report?: Report;
  /** A number in [0, 1) that spreads questions; the operating system's generator unless given (not `Math.random`: see policy/random.ts). */
  readonly jitter?: () => number;
  /** Time in the store, for tests in virtual time; 0 or left out: its own. */
  readonly storeMs?: () => number;
}

/** A route of a destination. */
export interface FleetRoute {
  /** Name of the destination. */
  readonly destination: string;
  /** Tells the destination's routes apart, the same in every sandbox; "" where none matches. */
  readonly place: string;
  /** What `$route` stands for in descriptors; "" where none matches. */
  readonly path: string;
}

/** See the file's header. */
export interface Fleet {
  /** What the rate limit of one route is given. */
  rates(route: FleetRoute): FleetRates;
  /** `null` without a store. */
  readonly breakers: BreakerStore | null;
  /** Commands under way at the store. */
  pending(): number;
  /** To be subscribed. */
  readonly lifecycle: LifecycleListener;
  /** Lets go of all connections. */
  close(): void;
}

/** The fleet that `options` describe. Does no I/O. */
export function createFleet(options: FleetOptions, parts: FleetParts): Fleet {
  const { clock, identity } = parts;
  const report = parts.report ?? (() => {});
  const judge = rlsJudge(options, clock, new Reachability("fleet.rate_limit_service", report));
  const store =
    options.store === ""
      ? null
      : new RedisStore(
          storeAddress(options.store, parts.password),
          options.timeoutMs,
          clock,
          new Reachability("fleet.store", report),
        );
  let member = "";
  const shared = { clock, onFailure: options.onFailure, member: () => (member ||= randomUUID()) };
  const recent = new Set<LeasedTokens>();
  const breakers = store === null ? null : new SharedBreakers({ ...shared, store, prefix: options.prefix });

  function used(source: LeasedTokens): void {
    recent.delete(source);
    if (recent.size >= REFRESHED_MAX) recent.delete(recent.values().next().value!);
    recent.add(source);
  }

  /** Keys of applications may be secrets: the store gets their hash. */
  const bucketKey = ({ destination, place }: FleetRoute, key: string): string => {
    const hashed = key === "" ? "" : createHash("sha256").update(key).digest("base64url");
    return `${options.prefix}rate:${destination}:${place}:${hashed}`;
  };

  return {
    breakers,
    pending: () => store?.pending ?? 0,
    rates: (route) => ({
      names: { destination: route.destination, route: route.path, identity },
      judge,
      tokens:
        store === null
          ? null
          : (limit) => (key) =>
              new LeasedTokens(bucketKey(route, key), limit, {
                ...shared,
                store,
                jitter: parts.jitter ?? (() => randomInt(1000) / 1000),
                storeMs: parts.storeMs ?? (() => 0),
                used,
              }),
    }),
    lifecycle: {
      workStarted: ({ sequence }, idleMs) => {
        // Sandboxes that were restored from one snapshot must not go by one name.
        if (sequence === 1 || idleMs >= LEASE_MS) member = "";
        if (idleMs >= CONNECTION_PAUSE_MS) {
          store?.forget();
          judge?.forget();
        }
        for (const source of recent) source.refresh();
        breakers?.refresh();
      },
    },
    close: () => {
      store?.close();
      judge?.forget();
    },
  };
}
