/**
 * The packet filter's rules that lead the traffic of other users to the proxy's port for redirected connections: a chain of our own
 * in the table `nat`, and one rule in `OUTPUT` that jumps there. Pure: argument lists, nothing is run.
 */

/** What is captured. */
export interface RedirectOptions {
  /** The proxy's `listen.transparent_port`. */
  readonly port: number;
  /** The user that the proxy runs as: its own traffic has to leave, or it would come back to it for ever. */
  readonly uid: number;
  /** Ports of servers whose connections are taken. */
  readonly ports: readonly number[];
  /** Address blocks that are left alone, both families. */
  readonly excluded: readonly string[];
  /** Besides IPv4. */
  readonly ipv6: boolean;
}

/** Program and arguments. */
export type CommandLine = readonly string[];

/** The rules of one family, in the pieces that installing and removing are made of. A check ends with 0 when it holds, with 1 when not. */
export interface RuleSet {
  readonly hasChain: CommandLine;
  readonly makeChain: CommandLine;
  readonly emptyChain: CommandLine;
  /** In order: the first rule that matches decides. */
  readonly fillChain: readonly CommandLine[];
  readonly deleteChain: CommandLine;
  readonly hasJump: CommandLine;
  readonly addJump: CommandLine;
  readonly deleteJump: CommandLine;
}

/** Name of the chain. */
export const CHAIN = "OUTRIDER";

/** Seconds to wait for another program that changes rules at the same time (`-w`, iptables(8)). */
const LOCK_WAIT_S = "5";

/**
 * Never captured: loopback, and where clouds keep metadata and credentials, which a proxy must not stand in front of (the list of
 * `route/address-class.ts`; all of link-local, because platforms add services there).
 */
const LEFT_ALONE = {
  iptables: ["127.0.0.0/8", "169.254.0.0/16", "100.100.100.200", "168.63.129.16"],
  ip6tables: ["::1", "fe80::/10", "fd00:ec2::/32", "fd20:ce::254"],
} as const;

/** One set, or two with `ipv6`. `excluded` has passed `parseBlock`. */
export function redirectRules(options: RedirectOptions): RuleSet[] {
  const programs = options.ipv6 ? (["iptables", "ip6tables"] as const) : (["iptables"] as const);
  return programs.map((program) => ruleSet(program, options));
}

function ruleSet(program: keyof typeof LEFT_ALONE, { port, uid, ports, excluded }: RedirectOptions): RuleSet {
  const nat = (...rest: string[]): CommandLine => [program, "-w", LOCK_WAIT_S, "-t", "nat", ...rest];
  const append = (...rest: string[]): CommandLine => nat("-A", CHAIN, ...rest);
  const jump = ["OUTPUT", "-p", "tcp", "-j", CHAIN];
  const ours = excluded.filter((block) => isIPv4Block(block) === (program === "iptables"));
  return {
    hasChain: nat("-S", CHAIN),
    makeChain: nat("-N", CHAIN),
    emptyChain: nat("-F", CHAIN),
    fillChain: [
      append("-m", "owner", "--uid-owner", String(uid), "-j", "RETURN"),
      ...[...LEFT_ALONE[program], ...ours].map((block) => append("-d", block, "-j", "RETURN")),
      ...ports.map((from) =>
        append("-p", "tcp", "--dport", String(from), "-j", "REDIRECT", "--to-ports", String(port)),
      ),
    ],
    deleteChain: nat("-X", CHAIN),
    hasJump: nat("-C", ...jump),
    addJump: nat("-A", ...jump),
    deleteJump: nat("-D", ...jump),
  };
}

/** Which of the two programs takes a block: the notation decides, not what the address is mapped to. */
export function isIPv4Block(block: string): boolean {
  return !block.includes(":");
}

/** The commands that install `sets`, as a POSIX shell would run them. Nothing in them needs quoting. */
export function shellText(sets: readonly RuleSet[]): string {
  const lines = sets.flatMap((set) => [
    `${set.hasChain.join(" ")} >/dev/null 2>&1 || ${set.makeChain.join(" ")}`,
    set.emptyChain.join(" "),
    ...set.fillChain.map((command) => command.join(" ")),
    `${set.hasJump.join(" ")} 2>/dev/null || ${set.addJump.join(" ")}`,
  ]);
  return `${lines.join("\n")}\n`;
}
