/** What the keys of one destination, its TLS and its routes must be to each other. Pure; called by `cross-checks.ts`. */
import { layersFor } from "./merge.ts";
import { checkPolicy } from "./policy-checks.ts";
import { errorAt, type Path, type Problem, warningAt } from "./problem.ts";
import type { DestinationFile, PolicyFile } from "./schema.ts";
import { showPath } from "./show.ts";

type RouteFile = NonNullable<DestinationFile["routes"]>[number];

/** Every finding about the destination at `index`. */
export function checkDestination(file: PolicyFile, index: number): Problem[] {
  const destination = file.destinations![index]!;
  const path = ["destinations", index];
  const routes = destination.routes ?? [];
  return [
    ...checkLocalTarget(destination, path),
    ...checkTls(destination, path),
    ...checkPolicy(layersFor(file, index, null)),
    ...routes.flatMap((route, i) => [
      ...checkMatch(routes, route, i, [...path, "routes", i]),
      ...checkPolicy(layersFor(file, index, i)),
    ]),
  ];
}

/** A local port must know where to forward to: requests that come there name no host that could be trusted. */
function checkLocalTarget({ local_port, upstream, hosts }: DestinationFile, path: Path): Problem[] {
  if (local_port === undefined || upstream !== undefined) return [];
  const exact = hosts.filter((host) => !host.startsWith("*"));
  if (exact.length === 1 && hosts.length === 1) return [];
  return [
    errorAt(
      [...path, "local_port"],
      "needs to know where to forward to; state upstream: { host: … }, or exactly one exact host in hosts",
    ),
  ];
}

function checkTls({ tls, hosts, ports, upstream, local_port }: DestinationFile, path: Path): Problem[] {
  if (tls === undefined) return [];
  const at = [...path, "tls"];
  const keys = Object.keys(tls);
  if (keys.length === 0) return [errorAt(at, "says nothing; write tls: { originate: true } or delete it")];
  if (tls.originate === false && tls.intercept !== true) {
    const others = keys.filter((key) => key !== "originate" && key !== "intercept");
    if (others.length === 0) return [];
    return [
      errorAt(
        [...at, "originate"],
        `is false, so ${others.join(", ")} would have no effect; delete one or the other`,
      ),
    ];
  }
  const problems: Problem[] = [];
  if (ports?.includes(443) && !ports.includes(80) && local_port === undefined) {
    const message =
      "the plain calls that tls is for come to port 80, which is not among ports; add 80 (it goes to 443 over TLS)";
    problems.push(warningAt(at, message));
  }
  if (tls.client_key !== undefined && tls.client_cert === undefined) {
    problems.push(
      errorAt([...at, "client_key"], "needs client_cert, the certificate that the key belongs to"),
    );
  }
  if (hosts.includes("*") && upstream === undefined) {
    const message =
      'would wrap the plain calls to every host in TLS and show the client certificate to each; name the hosts instead of "*", or state an upstream';
    problems.push(errorAt(at, message));
  }
  return problems;
}

function checkMatch(
  routes: readonly RouteFile[],
  { match }: RouteFile,
  index: number,
  path: Path,
): Problem[] {
  if (match.path === undefined && match.methods === undefined) {
    return [
      errorAt(
        [...path, "match"],
        "matches every call; state path or methods, or write the keys on the destination itself",
      ),
    ];
  }
  const before = routes.findIndex((earlier, i) => i < index && covers(earlier.match, match));
  if (before < 0) return [];
  const earlier = showPath([...path.slice(0, -1), before]);
  return [
    warningAt(
      [...path, "match"],
      `is never reached, because ${earlier} takes all of its calls first; put it before that one`,
    ),
  ];
}

/** Whether `earlier` takes every call that `later` would. */
function covers(earlier: RouteFile["match"], later: RouteFile["match"]): boolean {
  const prefix = earlier.path ?? "";
  const path = later.path ?? "";
  const pathCovered =
    path.startsWith(prefix) &&
    (path === prefix || prefix === "" || prefix.endsWith("/") || path[prefix.length] === "/");
  const methodsCovered =
    earlier.methods === undefined ||
    (later.methods?.every((method) => earlier.methods!.includes(method)) ?? false);
  return pathCovered && methodsCovered;
}
