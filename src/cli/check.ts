/** `outrider check`: says whether a policy can be used, and in short what it does. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { openPolicy } from "../config/compile.ts";
import { effects, formatAuthority } from "../config/effective.ts";
import { findPolicy, POLICY_FILE_NAMES } from "../config/find.ts";
import type { Config, Destination } from "../config/types.ts";
import { type Command, type Terminal, UsageError } from "./command.ts";

const HELP = `outrider check: validate a policy file

Usage: outrider check [FILE]

FILE is a policy (YAML or JSON) or a compiled policy. Without it: OUTRIDER_CONFIG, else ${POLICY_FILE_NAMES.join(", ")}.

Prints what each destination does. Warnings go to standard error. When the policy cannot be used, every problem is
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

/** Hosts that the summary lists for one destination. */
const HOSTS_SHOWN_MAX = 4;

function hostsOf({ hosts, ports }: Destination): string {
  const shown = hosts.slice(0, HOSTS_SHOWN_MAX).join(", ");
  const more = hosts.length > HOSTS_SHOWN_MAX ? ` and ${hosts.length - HOSTS_SHOWN_MAX} more` : "";
  return `${shown}${more}${ports.length === 0 ? "" : ` (port ${ports.join(", ")})`}`;
}
