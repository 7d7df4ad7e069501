/** `outrider capture`: installs and removes the rules that lead a machine's or a container's traffic to the proxy. */
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";
import { parseBlock } from "../route/address.ts";
import { type Command, Failure, type Terminal, UsageError } from "./command.ts";
import {
  CHAIN,
  type CommandLine,
  isIPv4Block,
  type RedirectOptions,
  type RuleSet,
  redirectRules,
  shellText,
} from "./redirect-rules.ts";

const HELP = `outrider capture: lead all traffic of this machine or container through the proxy, without any proxy variable

Usage: outrider capture install --port PORT --uid UID [options]
       outrider capture print   --port PORT --uid UID [options]
       outrider capture remove  [--ipv6]

  --port PORT          the policy's listen.transparent_port
  --uid UID            the numeric user that the proxy runs as; its own traffic is left alone
  --ports LIST         ports of servers to take (default: 80,443)
  --exclude CIDR,…     addresses to leave alone, besides loopback, link-local and the clouds' metadata services
  --ipv6               IPv6 as well; the proxy has to listen there too

install adds a chain ${CHAIN} to iptables' table nat, or replaces what is in it; remove takes all of it away and is content when
there is nothing. print writes what install would run, for an init container of your own. Both need iptables and
NET_ADMIN (root, or docker run --cap-add NET_ADMIN).

Connections that the application opened before stay as they are: install first, then start the application.
`;

/** See HELP. */
export const command: Command = {
  summary: "redirect a container's traffic to the proxy with iptables, or stop doing so",
  help: HELP,
  async run(argv, terminal) {
    const options = {
      port: { type: "string" },
      uid: { type: "string" },
      ports: { type: "string", default: "80,443" },
      exclude: { type: "string", default: "" },
      ipv6: { type: "boolean", default: false },
    } as const;
    const { positionals, values } = parseArgs({ args: [...argv], options, allowPositionals: true });
    const [verb, ...more] = positionals;
    if (more.length > 0) throw new UsageError(`capture takes one word, not ${positionals.join(" ")}`);
    switch (verb) {
      case "install": {
        const sets = redirectRules(optionsOf(values));
        for (const set of sets) install(set, terminal);
        return 0;
      }
      case "print":
        terminal.out(shellText(redirectRules(optionsOf(values))));
        return 0;
      case "remove":
        // What is removed does not depend on what was captured.
        for (const set of redirectRules({ port: 1, uid: 0, ports: [], excluded: [], ipv6: values.ipv6 })) {
          remove(set, terminal);
        }
        return 0;
      default:
        throw new UsageError("capture takes install, remove or print");
    }
  },
};

interface Values {
  readonly port?: string | undefined;
  readonly uid?: string | undefined;
  readonly ports: string;
  readonly exclude: string;
  readonly ipv6: boolean;
}

function optionsOf({ port, uid, ports, exclude, ipv6 }: Values): RedirectOptions {
  if (port === undefined) throw new UsageError("--port is missing: the policy's listen.transparent_port");
  if (uid === undefined) {
    throw new UsageError(
      "--uid is missing: the user that the proxy runs as, whose traffic must not be redirected",
    );
  }
  if (!/^[0-9]{1,10}$/.test(uid) || Number(uid) > UID_MAX)
    throw new UsageError(`--uid ${uid}: a numeric user id`);
  const excluded = exclude === "" ? [] : exclude.split(",");
  for (const block of excluded) checkBlock(block, ipv6);
  const taken = portOf("--port", port);
  return {
    port: taken,
    uid: Number(uid),
    ports: ports.split(",").map((text) => portOf("--ports", text)),
    excluded,
    ipv6,
  };
}

/** The last one is "no user" (chown(2)). */
const UID_MAX = 2 ** 32 - 2;

function portOf(option: string, text: string): number {
  const port = Number(text);
  if (!/^[0-9]{1,5}$/.test(text) || port < 1 || port > 65_535) {
    throw new UsageError(`${option} ${text}: a port is 1 to 65535`);
  }
  return port;
}

function checkBlock(block: string, ipv6: boolean): void {
  if (parseBlock(block) === null) throw new UsageError(`--exclude ${block}: write 10.0.0.0/8 or fd00::/8`);
  if (!ipv6 && !isIPv4Block(block))
    throw new UsageError(`--exclude ${block}: IPv6 is captured only with --ipv6`);
}

/** The jump comes last, so that nothing is led into a chain that is half filled. */
function install(set: RuleSet, terminal: Terminal): void {
  if (!holds(set.hasChain, terminal)) run(set.makeChain, terminal);
  run(set.emptyChain, terminal);
  for (const rule of set.fillChain) run(rule, terminal);
  if (!holds(set.hasJump, terminal)) run(set.addJump, terminal);
}

function remove(set: RuleSet, terminal: Terminal): void {
  if (!holds(set.hasChain, terminal)) return;
  if (holds(set.hasJump, terminal)) run(set.deleteJump, terminal);
  run(set.emptyChain, terminal);
  run(set.deleteChain, terminal);
}

/** Exit code of a check that does not hold (iptables(8): "1: other errors"); a refusal of the kernel's has another. */
const ABSENT = 1;

function holds(check: CommandLine, terminal: Terminal): boolean {
  const { code, said } = execute(check, terminal);
  if (code === 0) return true;
  if (code === ABSENT && !isPermission(said)) return false;
  throw failure(check, said);
}

function run(line: CommandLine, terminal: Terminal): void {
  const { code, said } = execute(line, terminal);
  if (code !== 0) throw failure(line, said);
}

function execute([program, ...args]: CommandLine, terminal: Terminal): { code: number | null; said: string } {
  const { status, stderr, error } = spawnSync(program!, args, { env: terminal.env, encoding: "utf8" });
  if (error === undefined) return { code: status, said: stderr.trim() };
  if ((error as NodeJS.ErrnoException).code === "ENOENT") {
    throw new Failure(
      `there is no ${program} here; install the package iptables, or run what outrider capture print writes where there is one`,
    );
  }
  throw new Failure(`${program}: ${error.message}`);
}

function isPermission(said: string): boolean {
  return /permission denied|operation not permitted|must be root/i.test(said);
}

function failure(line: CommandLine, said: string): Failure {
  if (isPermission(said)) {
    return new Failure(
      `${line[0]}: permission denied; it takes NET_ADMIN: run this as root, in a container with --cap-add NET_ADMIN`,
    );
  }
  return new Failure(`${line.join(" ")}: ${said.split("\n")[0]}`);
}
