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
import { effectiveValues, formatAuthority, HTTP_VERSION_TEXT } from "../config/effective.ts";
import { layerOf, layersFor } from "../config/merge.ts";
import type { Config, Destination, Route } from "../config/types.ts";
import { admitCall, compileAccess, rulesFor } from "../route/access.ts";
import { admitAddress, admitTarget, compileAddressGuard } from "../route/admit.ts";
import { compileMatcher, matchDestination, matchRoute } from "../route/match.ts";
import { hostKind } from "../route/target-host.ts";
import { policyPath } from "./check.ts";
import { type Command, UsageError } from "./command.ts";

const HELP = `outrider explain: show what the policy makes of a call

Usage: outrider explain URL [-X METHOD] [--identity NAME] [--config FILE]

  -X, --request METHOD   method of the call (default: GET)
  --identity NAME        function or service that calls, for acl.rules (default: none)
  --config FILE          policy, compiled or not (default: OUTRIDER_CONFIG, else outrider.yaml here)

URL is http://…, https://…, or tcp://localhost:PORT for the local port of a destination with protocol: tcp.

Names the destination and the route, the rule that lets the call pass or refuses it, where the call goes, whether its TLS
is opened, and each value with the level it comes from: built-in, defaults, telemetry, destination or route.
`;

/** See HELP. */
export const command: Command = {
  summary: "show which rule and which values hold for a call, and where each comes from",
  help: HELP,
  async run(argv, terminal) {
    const options = {
      request: { type: "string", short: "X", default: "GET" },
      identity: { type: "string", default: "" },
      config: { type: "string" },
    } as const;
    const { positionals, values } = parseArgs({ args: [...argv], options, allowPositionals: true });
    const [url, ...more] = positionals;
    if (url === undefined || more.length > 0) throw new UsageError("explain takes one URL");
    const call = { ...callOf(url, values.request), identity: values.identity };
    const name = policyPath(values.config, terminal);
    const policy = openPolicy(resolve(terminal.cwd, name), name);
    for (const warning of policy.warnings) terminal.err(`${warning}\n`);
    const bold = (text: string) => (terminal.colour ? `\u001b[1m${text}\u001b[22m` : text);
    terminal.out(`${bold(`${values.request} ${url}`)}\n\n${explanation(policy, name, call)}`);
    return 0;
  },
};

/** A call as the application makes it. */
interface Call {
  readonly scheme: "http" | "https" | "tcp";
  readonly method: string;
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
  readonly path: string;
  /** "" for none. */
  readonly identity: string;
}

/** @throws UsageError when it is no URL of a call */
function callOf(text: string, method: string): Omit<Call, "identity"> {
  const url = URL.parse(text);
  const scheme = SCHEMES.find((known) => url?.protocol === `${known}:`);
  if (url === null || scheme === undefined || (scheme === "tcp" && url.port === "")) {
    throw new UsageError(
      `"${text}" is no URL of a call; write one such as https://api.example.com/v1/orders`,
    );
  }
  // The URL parser turns 127.1 into 127.0.0.1; the proxy sees what the application wrote.
  const written = /^[^/]*\/\/(?:[^/?#]*@)?([^/?#:]*)/.exec(text)?.[1] ?? "";
  const host = hostKind(written) === "ambiguous" ? written : url.hostname.replace(/^\[|\]$/g, "");
  const port = url.port === "" ? (scheme === "https" ? 443 : 80) : Number(url.port);
  return { scheme, method, host, port, path: `${url.pathname}${url.search}` };
}

const SCHEMES = ["http", "https", "tcp"] as const;

/** How much of a call the proxy sees: all of it, or (`blind`) only a tunnel to a host and a port. */
interface Sight {
  readonly blind: boolean;
  readonly note: string;
}

function sightOf({ scheme }: Call, destination: Destination, isLocal: boolean): Sight {
  if (destination.protocol === "tcp" && (isLocal || scheme !== "http")) {
    const note =
      "protocol: tcp: bytes pass unread; what bounds them is the acl, the limits, the timeouts of connecting, and limits.tunnel_idle";
    return { blind: true, note };
  }
  if (scheme === "http") return { blind: false, note: "" };
  if (scheme === "tcp") {
    return {
      blind: true,
      note: "no destination with protocol: tcp has this local_port: passes only as a tunnel",
    };
  }
  if (destination.tls?.intercept) {
    const note =
      "https: the TLS is opened with the sandbox's own CA, so the call is governed like a plain one; a client that does not trust the CA refuses";
    return { blind: false, note };
  }
  const note =
    "https: passes as a tunnel that is not looked into: no route but one for CONNECT, no status is retried, no trace header added, limits count tunnels, tls of the destination is not used; tls.intercept: true opens it";
  return { blind: true, note };
}

function explanation({ config, file }: OpenedPolicy, name: string, call: Call): string {
  const local = destinationOfLocalPort(config, call);
  const destination = local ?? matchDestination(compileMatcher(config.destinations), call.host, call.port);
  const { blind, note } = sightOf(call, destination, local !== null);
  const route = blind
    ? matchRoute(destination, "CONNECT", formatAuthority(call))
    : matchRoute(destination, call.method, call.path);
  const facts: [string, string][] = [
    ["policy", `${name}, version ${config.version}`],
    [
      "destination",
      `${destination.name}${local === null ? "" : ` (by its local port ${destination.localPort})`}`,
    ],
    ["route", routeText(destination, route)],
    ["access", accessText(config, destination, call, blind)],
    ["goes to", targetText(config, destination, call, blind)],
  ];
  if (!blind) facts.push(["speaks", HTTP_VERSION_TEXT[destination.httpVersion]]);
  if (note !== "") facts.push(["note", note]);
  const lines = facts.map(([label, text]) => `${label.padEnd(13)}${text}\n`);
  return `${lines.join("")}\n${valuesText(config, file, destination, route)}`;
}

/** Calls to a local port belong to its destination whatever their host says. */
function destinationOfLocalPort(
  { listen, destinations }: Config,
  { scheme, host, port }: Call,
): Destination | null {
  if (scheme === "https" || ![listen.host, "localhost"].includes(host)) return null;
  const found = destinations.find(({ localPort }) => localPort !== 0 && localPort === port);
  return found === undefined || (scheme === "tcp" && found.protocol !== "tcp") ? null : found;
}

function routeText(destination: Destination, route: Route | null): string {
  if (route === null) return destination.routes.length === 0 ? "the destination has none" : "none matches";
  const { path, methods } = route.match;
  return `routes[${destination.routes.indexOf(route)}] (${[methods.join(", "), path].filter((part) => part !== "").join(" ")})`;
}

function accessText(config: Config, destination: Destination, call: Call, blind: boolean): string {
  const { host, port, method, path, identity } = call;
  if (hostKind(host) === "ambiguous") return `refused: ${host} can be read as another address than it shows`;
  const rules = rulesFor(compileAccess(config.acl, identity), host, port);
  const word = admitTarget(config.acl, destination);
  const { allowed, effect, rule } = blind
    ? admitCall(rules, word, "CONNECT", formatAuthority(call))
    : admitCall(rules, word, method, path);
  if (allowed) return `allowed by ${rule}`;
  const what = { refuse: "refused", report: "passes, noted as refused", none: "passes, although denied" }[
    effect
  ];
  return `${what} by ${rule} (acl.mode: ${config.acl.mode})`;
}

function targetText(config: Config, destination: Destination, call: Call, blind: boolean): string {
  const { tls, protocol } = destination;
  const isOwnTls = protocol === "tcp" || !blind;
  const isSecure = isOwnTls && (call.scheme === "https" || (tls?.originate ?? false));
  // A plain call that names no port means the scheme's, and the scheme is what `tls` changes.
  const port = isSecure && call.scheme === "http" && call.port === 80 ? 443 : call.port;
  const target = destination.upstream ?? { host: call.host, port };
  const clientCert = tls?.clientCert ?? "";
  const certificate = clientCert === "" ? "" : ` with the client certificate ${clientCert}`;
  if (destination.endpoints.length > 0) return endpointsText(config, destination, isSecure);
  const over = isSecure ? ` over TLS${certificate}` : isOwnTls ? ", plain" : "";
  return `${formatAuthority(target)}${over}; ${addressText(config, destination, target)}`;
}

function endpointsText(config: Config, destination: Destination, isSecure: boolean): string {
  const { endpoints, balance } = destination;
  const places = endpoints.map(
    (endpoint) =>
      `${formatAuthority(endpoint)} (priority ${endpoint.priority}, weight ${endpoint.weight}; ${addressText(config, destination, endpoint)})`,
  );
  return `${isSecure ? "over TLS" : "plain"}, to one by ${balance.algorithm}: ${places.join(", ")}`;
}

/** The guard on addresses needs an address; a name's are judged when they are dialled. */
function addressText(
  config: Config,
  destination: Destination,
  { host, port }: { host: string; port: number },
): string {
  if (isIP(host) === 0) return "its addresses are judged when they are dialled";
  const { port: ownPort, transparentPort } = config.listen;
  const ownPorts = new Set([
    ownPort,
    transparentPort,
    ...config.destinations.map(({ localPort }) => localPort),
  ]);
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
