/** What the keys of one destination and its routes must be to each other. Pure; called by `cross-checks.ts`. */
import { layersFor } from "./merge.ts";
import { type Around, checkPolicy } from "./policy-checks.ts";
import { errorAt, type Path, type Problem, warningAt } from "./problem.ts";
import { checkProtocol } from "./protocol-checks.ts";
import type { DestinationFile, PolicyFile } from "./schema.ts";
import { showPath } from "./show.ts";
import { checkTls } from "./tls-checks.ts";

type RouteFile = NonNullable<DestinationFile["routes"]>[number];

/** Every finding about the destination at `index`. */
export function checkDestination(file: PolicyFile, index: number, around: Around): Problem[] {
  const destination = file.destinations![index]!;
  const path = ["destinations", index];
  const routes = destination.routes ?? [];
  return [
    ...checkLocalTarget(destination, path),
    ...checkEndpoints(destination, path),
    ...checkTls(destination, path),
    ...checkProtocol(destination, path),
    ...checkPolicy(layersFor(file, index, null), around),
    ...routes.flatMap((route, i) => [
      ...checkMatch(routes, route, i, [...path, "routes", i]),
      ...checkPolicy(layersFor(file, index, i), around),
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

/** Several places to dial take the place of one. With a local port, `upstream` still says which host is called. */
function checkEndpoints(destination: DestinationFile, path: Path): Problem[] {
  const { endpoints = [], balance, upstream, local_port } = destination;
  const problems: Problem[] = [];
  if (balance !== undefined && endpoints.length === 0) {
    problems.push(errorAt([...path, "balance"], "has no effect without endpoints; state some, or delete it"));
  }
  if (endpoints.length > 0 && upstream !== undefined && local_port === undefined) {
    const message =
      "has no effect beside endpoints, which are dialled instead; make it one of them, or delete it";
    problems.push(errorAt([...path, "upstream"], message));
  }
  const first = new Map<string, number>();
  endpoints.forEach(({ host, port }, i) => {
    const place = `${host.toLowerCase()} ${port}`;
    const before = first.get(place);
    if (before === undefined) first.set(place, i);
    else {
      const message = `is ${showPath([...path, "endpoints", before])} again; give that one more weight instead`;
      problems.push(errorAt([...path, "endpoints", i], message));
    }
  });
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
