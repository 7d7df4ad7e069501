/**
 * Sends a part of the calls to another upstream: canary, blue and green. A call is on one side with all its attempts, and so is
 * everything that has the same key, in every sandbox (`sticky-hash.ts` says how a key is placed).
 *
 * Owns where the key comes from and what changes about the call: host and port, and with them Host, the TLS name and the address that
 * is dialled, also where the destination says another. Left alone are tunnels, which are the application's own business, and calls
 * whose signature covers the host.
 */
import type { SplitTarget } from "../config/types.ts";
import type { EgressRequest, Policy } from "../exchange.ts";
import { fieldValue } from "../http1/fields.ts";
import type { SandboxDraw } from "./sandbox-draw.ts";
import { signedParts } from "./signed-parts.ts";
import { chooseSplit, traceKey, workTraceReader } from "./split-choice.ts";
import { stickyPoint } from "./sticky-hash.ts";

/** What this stage is given besides its options. */
export interface SplitSurroundings {
  /** Uniform in [0, 1): places the calls that have no key. */
  readonly random: () => number;
  readonly sandbox: SandboxDraw;
  /** The running invocation's trace as the platform gave it, "" for none. */
  readonly workTrace: () => string;
}

const STAGE = "split";

/** The stage. `targets` has one entry at least; all have the same `sticky`. */
export function split(targets: readonly SplitTarget[], surroundings: SplitSurroundings): Policy {
  const pointOf = pointBy(targets[0]!.sticky, surroundings);
  return (next) => (request) => {
    if (request.method === "CONNECT") return next(request);
    const target = chooseSplit(targets, pointOf(request));
    if (target === null) return next(request);
    if (signedParts(request.fields, request.path)?.host === true) {
      request.trail.push({ kind: "skipped", stage: STAGE, why: "the signature covers the host" });
      return next(request);
    }
    const { host } = target;
    request.trail.push({ kind: "split", host });
    const port = target.port === 0 ? request.port : target.port;
    return next(request.with({ host, port, address: { host, port: 0 } }));
  };
}

/** Where calls are placed by what keeps them on their side; a call without it is placed at random. */
function pointBy(
  sticky: string,
  { random, sandbox, workTrace }: SplitSurroundings,
): (request: EgressRequest) => number {
  if (sticky === "sandbox") return () => sandbox(STAGE);
  if (sticky === "trace") {
    const workTraceId = workTraceReader(workTrace);
    return ({ fields }) => pointOr(traceKey(fields, workTraceId()), random);
  }
  if (sticky.startsWith("header:")) {
    const name = sticky.slice("header:".length).toLowerCase();
    return ({ fields }) => pointOr(fieldValue(fields, name) ?? "", random);
  }
  return random;
}

const pointOr = (key: string, random: () => number): number => (key === "" ? random() : stickyPoint(key));
