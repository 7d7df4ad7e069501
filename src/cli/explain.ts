/**
 * `outrider explain`: which destination and route a call belongs to, whether it may be made, where it goes, and every value that
 * holds for it with the level it comes from.
 *
 * Asks the same functions as the data path; nothing is sent and no name is resolved.
 */
import { isIP } from "node:net";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { type OpenedPolicy, openPolicy } from "../config/compile.ts";
import { effectiveValues, formatAuthority } from "../config/effective.ts";
import { layerOf, layersFor } from "../config/merge.ts";
import type { Config, Destination, Route } from "../config/types.ts";
import { admitAddress, admitTarget, compileAddressGuard } from "../route/admit.ts";
import { compileMatcher, matchDestination, matchRoute } from "../route/match.ts";
import { hostKind } from "../route/target-host.ts";
import { policyPath } from "./check.ts";
import { type Command, UsageError } from "./command.ts";

const HELP = `outrider explain: show what the policy makes of a call

Usage: outrider explain URL [-X METHOD] [--config FILE]

  -X, --request METHOD   method of the call (default: GET)
  --config FILE          policy, compiled or not (default: OUTRIDER_CONFIG, else outrider.yaml here)

Names the destination and the route, the rule that lets the call pass or refuses it, where the call goes, and each
value with the level it comes from: built-in, defaults, telemetry, destination or route.
`;

/** See HELP. */
export const command: Command = {
  summary: "show which rule and which values hold for a call, and where each comes from",
  help: HELP,
  async run(argv, terminal) {
    const options = {
      request: { type: "string", short: "X", default: "GET" },
      config: { type: "string" },
    } as const;
    const { positionals, values } = parseArgs({ args: [...argv], options, allowPositionals: true });
    const [url, ...more] = positionals;
    if (url === undefined || more.length > 0) throw new UsageError("explain takes one URL");
    const call = callOf(url, values.request);
    const name = policyPath(values.config, terminal);
    const policy = openPolicy(resolve(terminal.cwd, name), name);
    for (const warning of policy.warnings) terminal.err(`${warning}\n`);
    const bold = (text: string) => (terminal.colour ? `\u001b[1m${text}\u001b[22m` : text);
    terminal.out(`${bold(`${values.request} ${url}`)}\n\n${explanation(policy, name, call)}`);
    return 0;
  },
};

/** A call as the proxy would see it. */
interface Call {
  /** CONNECT for https: the application's own method and path are inside the tunnel. */
  readonly method: string;
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
  readonly path: string;
}

/** @throws UsageError when it is no URL of a call */
function callOf(text: string, method: string): Call {
  const url = URL.parse(text);
  if (url === null || !["http:", "https:"].includes(url.protocol)) {
    throw new UsageError(
      `"${text}" is no URL of a call; write one such as https://api.example.com/v1/orders`,
    );
  }
  // The URL parser turns 127.1 into 127.0.0.1; the proxy sees what the application wrote.
  const written = /^[^/]*\/\/(?:[^/?#]*@)?([^/?#:]*)/.exec(text)?.[1] ?? "";
  const host = hostKind(written) === "ambiguous" ? written : url.hostname.replace(/^\[|\]$/g, "");
  const isTunnel = url.protocol === "https:";
  const port = url.port === "" ? (isTunnel ? 443 : 80) : Number(url.port);
  return isTunnel
    ? { method: "CONNECT", host, port, path: `${host}:${port}` }
    : { method, host, port, path: `${url.pathname}${url.search}` };
}

function explanation({ config, file }: OpenedPolicy, name: string, call: Call): string {
  const local = destinationOfLocalPort(config, call);
  const destination = local ?? matchDestination(compileMatcher(config.destinations), call.host, call.port);
  const route = matchRoute(destination, call.method, call.path);
  const facts: [string, string][] = [
    ["policy", `${name}, version ${config.version}`],
    [
      "destination",
      `${destination.name}${local === null ? "" : ` (by its local port ${destination.localPort})`}`,
    ],
    ["route", routeText(destination, route)],
    ["access", accessText(config, destination, call)],
    ["goes to", targetText(config, destination, call)],
  ];
  if (call.method === "CONNECT") {
    facts.push([
      "note",
      "https: passes as a tunnel that is not looked into: no status is retried, no trace header added",
    ]);
  }
  const lines = facts.map(([label, text]) => `${label.padEnd(13)}${text}\n`);
  return `${lines.join("")}\n${valuesText(config, file, destination, route)}`;
}

/** Calls to a local port belong to its destination whatever their host says. */
function destinationOfLocalPort(
  { listen, destinations }: Config,
  { method, host, port }: Call,
): Destination | null {
  if (method === "CONNECT" || ![listen.host, "localhost"].includes(host)) return null;
  return destinations.find(({ localPort }) => localPort !== 0 && localPort === port) ?? null;
}

function routeText(destination: Destination, route: Route | null): string {
  if (route === null) return destination.routes.length === 0 ? "the destination has none" : "none matches";
  const { path, methods } = route.match;
  return `routes[${destination.routes.indexOf(route)}] (${[methods.join(", "), path].filter((part) => part !== "").join(" ")})`;
}

function accessText(config: Config, destination: Destination, { host }: Call): string {
  if (hostKind(host) === "ambiguous") return `refused: ${host} can be read as another address than it shows`;
  const { allowed, effect, rule } = admitTarget(config.acl, destination);
  if (allowed) return `allowed by ${rule}`;
  const what = { refuse: "refused", report: "passes, noted as refused", none: "passes, although denied" }[
    effect
  ];
  return `${what} by ${rule} (acl.mode: ${config.acl.mode})`;
}

function targetText(config: Config, destination: Destination, call: Call): string {
  const tls = call.method === "CONNECT" ? null : destination.tls;
  // A call that names no port means the scheme's, and the scheme is what `tls` changes.
  const port = tls !== null && call.port === 80 ? 443 : call.port;
  const target = destination.upstream ?? { host: call.host, port };
  const certificate =
    tls === null || tls.clientCert === "" ? "" : ` with the client certificate ${tls.clientCert}`;
  const over = call.method === "CONNECT" ? "" : tls === null ? ", plain" : ` over TLS${certificate}`;
  return `${formatAuthority(target)}${over}; ${addressText(config, destination, target)}`;
}

/** The guard on addresses needs an address; a name's are judged when they are dialled. */
function addressText(
  config: Config,
  destination: Destination,
  { host, port }: { host: string; port: number },
): string {
  if (isIP(host) === 0) return "its addresses are judged when they are dialled";
  const ownPorts = new Set([config.listen.port, ...config.destinations.map(({ localPort }) => localPort)]);
  const guard = compileAddressGuard(config.acl, config.destinations, () => ownPorts);
  const refusal = admitAddress(guard, host, port, destination);
  return refusal === null
    ? "the address is allowed"
    : `the address is refused by ${refusal.rule} (see allow_addresses)`;
}

function valuesText(
  config: Config,
  file: OpenedPolicy["file"],
  destination: Destination,
  route: Route | null,
): string {
  const rows = effectiveValues(route === null ? destination.policy : route.policy);
  const keyWidth = Math.max(...rows.map(({ key }) => key.join(".").length));
  if (file === null) {
    const lines = rows.map(({ key, value }) => `  ${key.join(".").padEnd(keyWidth)}  ${value}\n`);
    return `${lines.join("")}\nThe policy is compiled: which level a value comes from is known to its source only.\n`;
  }
  const index = config.destinations.indexOf(destination);
  const isImplicit = index === config.destinations.length - 1;
  const layers = layersFor(
    file,
    isImplicit ? null : index,
    route === null ? null : destination.routes.indexOf(route),
  );
  return rows
    .map(
      ({ key, value }) =>
        `  ${key.join(".").padEnd(keyWidth)}  ${layerOf(layers, key).origin.padEnd(11)}  ${value}\n`,
    )
    .join("");
}
