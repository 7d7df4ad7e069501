/** `outrider check`: says whether a policy can be used, and in short what it does. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { openPolicy } from "../config/compile.ts";
import { effects, formatAuthority } from "../config/effective.ts";
import { findPolicy, POLICY_FILE_NAMES } from "../config/find.ts";
import type { Config, Destination, RoutePolicy } from "../config/types.ts";
import { type Command, type Terminal, UsageError } from "./command.ts";

const HELP = `outrider check: validate a policy file

Usage: outrider check [FILE]

FILE is a policy (YAML or JSON) or a compiled policy. Without it: OUTRIDER_CONFIG, else ${POLICY_FILE_NAMES.join(", ")}.

Prints what each destination does, and hints at what that leaves to know. Warnings go to standard error. When the policy cannot be used, every problem is
printed as FILE:LINE:COLUMN: key: what is wrong, and the exit code is 1.
`;

/** See HELP. */
export const command: Command = {
  summary: "validate a policy file and say in short what it does",
  help: HELP,
  async run(argv, terminal) {
    const { positionals } = parseArgs({ args: [...argv], options: {}, allowPositionals: true });
    if (positionals.length > 1) throw new UsageError("check takes one file");
    const name = policyPath(positionals[0], terminal);
    const { config, warnings } = openPolicy(resolve(terminal.cwd, name), name);
    for (const warning of [...warnings, ...missingFiles(config, name, terminal.cwd)])
      terminal.err(`${warning}\n`);
    terminal.out(summaryOf(config, name, terminal.colour));
    for (const hint of hintsOf(config)) terminal.out(`hint: ${hint}\n`);
    return 0;
  },
};

/**
 * The policy that a command is about: the one named, else where policies are looked for.
 * @throws UsageError when there is none
 */
export function policyPath(named: string | undefined, { env, cwd }: Terminal): string {
  const exists = (path: string) => existsSync(resolve(cwd, path));
  const found = findPolicy({ explicit: named, env, candidates: POLICY_FILE_NAMES, exists });
  if (found !== null) return found.path;
  throw new UsageError(`no policy is named, and there is none of ${POLICY_FILE_NAMES.join(", ")} here`);
}

/** Certificates that this machine lacks: only a warning, since the policy may be meant for another. */
function missingFiles(config: Config, name: string, cwd: string): string[] {
  return config.destinations.flatMap((destination) => {
    const { clientCert, clientKey, ca } = destination.tls ?? { clientCert: "", clientKey: "", ca: "" };
    const files = { client_cert: clientCert, client_key: clientKey, ca };
    return Object.entries(files)
      .filter(
        ([, reference]) => reference !== "" && !existsSync(resolve(cwd, reference.slice("file:".length))),
      )
      .map(
        ([key, file]) =>
          `${name}: ${destination.name}: tls.${key}: warning: ${file} does not exist on this machine`,
      );
  });
}

function summaryOf({ version, listen, acl, destinations }: Config, name: string, colour: boolean): string {
  const bold = (text: string) => (colour ? `\u001b[1m${text}\u001b[22m` : text);
  const named = destinations.slice(0, -1);
  const width = Math.max(...destinations.map((destination) => destination.name.length));
  const line = (destination: Destination, hosts: string, fallback: string) => {
    const clauses = effects(destination);
    return `  ${bold(destination.name.padEnd(width))}  ${hosts}: ${clauses.length === 0 ? fallback : clauses.join("; ")}\n`;
  };
  const others = `${acl.default === "allow" ? "allowed" : "denied"}${acl.mode === "enforce" ? "" : ` (mode ${acl.mode})`}`;
  return [
    `${name}: valid, version ${version}, listens on ${formatAuthority(listen)}\n`,
    ...named.map((destination) => line(destination, hostsOf(destination), "no policy of its own")),
    `  ${bold("default".padEnd(width))}  every other host: ${[others, ...effects(destinations.at(-1)!)].join("; ")}\n`,
  ].join("");
}

/** What is no mistake, but is easily expected otherwise. One sentence for all destinations that it concerns. */
function hintsOf({ destinations }: Config): string[] {
  const http = destinations
    .slice(0, -1)
    .filter(({ protocol, access }) => protocol === "http" && access === "allow");
  const blind = http.filter((destination) => !destination.tls?.intercept && needsSight(destination));
  const opened = http.filter((destination) => destination.tls?.intercept);
  const hints: string[] = [];
  if (blind.length > 0) {
    hints.push(
      `calls to ${namesOf(blind)} that are https already pass as tunnels that are not looked into: routes, retries on statuses, per_try_timeout, tls and what changes or answers calls have no effect on them; tls: { intercept: true } opens them`,
    );
  }
  if (opened.length > 0) {
    hints.push(
      `TLS to ${namesOf(opened)} is opened: the application has to trust the CA that each sandbox makes, and a client that pins certificates refuses`,
    );
  }
  return hints;
}

/** Whether the policy asks for what only someone who sees requests and responses can do. A local port's calls are always seen. */
function needsSight({ localPort, tls, policy, routes }: Destination): boolean {
  return localPort === 0 && (routes.length > 0 || policiesNeedSight(policy) || (tls?.originate ?? false));
}

function policiesNeedSight(policy: RoutePolicy): boolean {
  const { hedge, fallback, staleIfError, split, rewrite, mirror, fault } = policy;
  const stages = [hedge, fallback, staleIfError, rewrite, mirror, fault];
  return (
    policy.retry.maxRetries > 0 ||
    policy.perTryTimeoutMs > 0 ||
    policy.deadlinePropagateHeader !== "" ||
    split.length > 0 ||
    stages.some((stage) => stage !== null)
  );
}

function namesOf(destinations: readonly Destination[]): string {
  const shown = destinations.slice(0, HINT_NAMES_MAX).map(({ name }) => name);
  const more = destinations.length - shown.length;
  return `${shown.join(", ")}${more === 0 ? "" : ` and ${more} more`}`;
}

/** Destinations that a hint names; the others are counted. */
const HINT_NAMES_MAX = 8;

/** Hosts that the summary lists for one destination. */
const HOSTS_SHOWN_MAX = 4;

function hostsOf({ hosts, ports }: Destination): string {
  const shown = hosts.slice(0, HOSTS_SHOWN_MAX).join(", ");
  const more = hosts.length > HOSTS_SHOWN_MAX ? ` and ${hosts.length - HOSTS_SHOWN_MAX} more` : "";
  return `${shown}${more}${ports.length === 0 ? "" : ` (port ${ports.join(", ")})`}`;
}
