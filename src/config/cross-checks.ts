/**
 * What only several values together can show: claims that collide, keys that need another, bounds that contradict each other.
 *
 * Pure. Every value has passed the schema by itself; a destination that has not is left out by the caller (`null` in its place).
 */

import { checkAcl } from "./acl-checks.ts";
import { DEFAULTS } from "./defaults.ts";
import { checkDestination } from "./destination-checks.ts";
import { checkFleet } from "./fleet-checks.ts";
import { layersFor } from "./merge.ts";
import { checkPolicy } from "./policy-checks.ts";
import { errorAt, type Path, type Problem, warningAt } from "./problem.ts";
import type { DestinationFile, PolicyFile } from "./schema.ts";
import { show, showPath } from "./show.ts";
import { parseSize } from "./units.ts";

/** A file of which single destinations may be missing because the schema refused them. */
export interface CheckedFile extends Omit<PolicyFile, "destinations" | "fleet"> {
  /** `null` when the schema refused something in it. */
  readonly fleet?: PolicyFile["fleet"] | null;
  readonly destinations: readonly (DestinationFile | null)[];
}

/** Every finding, in the order of the file's sections; `wallMs` is the time of the check. */
export function crossCheck(file: CheckedFile, wallMs: number): Problem[] {
  const around = { fleet: file.fleet, wallMs };
  return [
    ...checkListen(file),
    ...checkLimits(file),
    ...checkAcl(file),
    ...checkFleet(file.fleet),
    ...checkTelemetry(file),
    ...checkPolicy(layersFor(withoutDestinations(file), null, null), around),
    ...checkNames(file),
    ...checkHosts(file),
    ...checkLocalPorts(file),
    ...file.destinations.flatMap((destination, i) =>
      destination === null ? [] : checkDestination(withOnly(file, destination, i), i, around),
    ),
  ];
}

function withoutDestinations(file: CheckedFile): PolicyFile {
  return { ...file, fleet: undefined, destinations: [] };
}

/** The file with one destination at its own index, so that its levels can be merged while others may be missing. */
function withOnly(file: CheckedFile, destination: DestinationFile, index: number): PolicyFile {
  const destinations: DestinationFile[] = [];
  destinations[index] = destination;
  return { ...file, fleet: undefined, destinations };
}

function checkListen({ listen }: CheckedFile): Problem[] {
  const problems: Problem[] = [];
  const host = listen?.unsafe_bind;
  if (host !== undefined && host !== "127.0.0.1" && host !== "::1") {
    const message = `whoever reaches ${host} can use the proxy and the certificates it holds; leave the key out to listen on 127.0.0.1 only`;
    problems.push(warningAt(["listen", "unsafe_bind"], message));
  }
  const transparent = listen?.transparent_port ?? 0;
  if (transparent !== 0 && transparent === (listen?.port ?? DEFAULTS.listen.port)) {
    const message = `${transparent} is the proxy's own port (listen.port) too, where clients say what they want; choose another`;
    problems.push(errorAt(["listen", "transparent_port"], message));
  }
  return problems;
}

function checkLimits({ limits }: CheckedFile): Problem[] {
  const { head_bytes: headDefault, target_bytes: targetDefault } = DEFAULTS.limits;
  const { head_bytes: head = headDefault, target_bytes: target = targetDefault } = limits ?? {};
  const { exchange_buffer: exchangeDefault, total_buffer: totalDefault } = DEFAULTS.limits;
  const { exchange_buffer: exchange = exchangeDefault, total_buffer: total = totalDefault } = limits ?? {};
  const problems: Problem[] = [];
  if (parseSize(target)! >= parseSize(head)!) {
    const key = limits?.target_bytes === undefined ? "head_bytes" : "target_bytes";
    const message = `target_bytes (${target}) must be smaller than head_bytes (${head}), which counts the target too`;
    problems.push(errorAt(["limits", key], message));
  }
  // One call that streams both ways would be at the bound of all calls together.
  if (parseSize(total)! < 2 * parseSize(exchange)!) {
    const key = limits?.total_buffer === undefined ? "exchange_buffer" : "total_buffer";
    const message = `total_buffer (${total}) must be at least twice exchange_buffer (${exchange}), which one call may hold in each direction`;
    problems.push(errorAt(["limits", key], message));
  }
  return problems;
}

function checkTelemetry({ telemetry }: CheckedFile): Problem[] {
  if (telemetry?.sample === undefined || telemetry.access_log === "sampled") return [];
  return [warningAt(["telemetry", "sample"], "has no effect; it needs access_log: sampled")];
}

function checkNames({ destinations }: CheckedFile): Problem[] {
  const first = new Map<string, number>();
  return destinations.flatMap((destination, i) => {
    if (destination === null) return [];
    const before = first.get(destination.name);
    if (before !== undefined) {
      return [
        errorAt(
          ["destinations", i, "name"],
          `${show(destination.name)} is the name of ${at(before)} too; choose another`,
        ),
      ];
    }
    first.set(destination.name, i);
    return [];
  });
}

/** The same host on the same port (or on any port) may be claimed once. A claim of one port beats a claim of any, so these two may coexist. */
function checkHosts({ destinations }: CheckedFile): Problem[] {
  const first = new Map<string, Path>();
  return destinations.flatMap((destination, i) => {
    if (destination === null) return [];
    const { hosts, ports = [] } = destination;
    return hosts.flatMap((host, j) => {
      const path = ["destinations", i, "hosts", j];
      for (const port of ports.length === 0 ? ["any port"] : ports.map((number) => `port ${number}`)) {
        const claim = `${host.toLowerCase()} ${port}`;
        const before = first.get(claim);
        if (before !== undefined) {
          return [
            errorAt(
              path,
              `${show(host)} on ${port} belongs to ${showPath(before)} already; name it once, or tell the two apart by ports`,
            ),
          ];
        }
        first.set(claim, path);
      }
      return [];
    });
  });
}

function checkLocalPorts(file: CheckedFile): Problem[] {
  const listenPort = file.listen?.port ?? DEFAULTS.listen.port;
  const transparentPort = file.listen?.transparent_port ?? 0;
  const first = new Map<number, number>();
  return file.destinations.flatMap((destination, i) => {
    const port = destination?.local_port;
    if (port === undefined) return [];
    const path = ["destinations", i, "local_port"];
    const before = first.get(port);
    if (port === listenPort)
      return [errorAt(path, `${port} is the proxy's own port (listen.port); choose another`)];
    if (port === transparentPort) {
      const message = `${port} takes redirected connections (listen.transparent_port); choose another`;
      return [errorAt(path, message)];
    }
    if (before !== undefined)
      return [errorAt(path, `${port} is the local port of ${at(before)} too; choose another`)];
    first.set(port, i);
    return [];
  });
}

function at(index: number): string {
  return showPath(["destinations", index]);
}
