/**
 * `outrider suggest`: an allow list from the access log.
 *
 * Owns reading the lines and saying what was left out. What is learned is in `allow-list.ts`, the text of it in
 * `allow-list-text.ts`.
 */
import { createReadStream } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { openPolicy } from "../config/compile.ts";
import type { Acl, Config } from "../config/types.ts";
import { admitCall, compileAccess, rulesFor } from "../route/access.ts";
import { admitTarget } from "../route/admit.ts";
import { compileMatcher, matchDestination } from "../route/match.ts";
import { AllowList, TARGETS_MAX } from "./allow-list.ts";
import { counted, missingText, policyText } from "./allow-list-text.ts";
import { type Command, Failure, type Terminal, UsageError } from "./command.ts";
import { type ObservedCall, observedCall } from "./observed-call.ts";

const HELP = `outrider suggest: write the smallest allow list that the access log asks for

Usage: outrider suggest [FILE…|-] [--policy FILE] [--mode MODE] [--identity NAME] [--denied]

  FILE             lines of the access log, JSON; - or none: the standard input
  --policy FILE    show only what this policy, compiled or not, does not allow
  --mode MODE      observe, report or enforce, for a new policy (default: report)
  --identity NAME  judge --policy as the function or service of this name
  --denied         learn from calls that were refused too; read the result before you use it

Prints a policy with acl.default: deny and a rule for each host, port, method and path that was called. Numbers, UUIDs, keys and
the like in paths are taken for identifiers: the path before them is allowed. A path is a prefix: "/" allows every path.
Tunnels that were not looked into (CONNECT) are allowed by host and port alone.

Lines are what telemetry.access_log: all writes, bare or as a platform's log wraps them; others are passed over.
`;

/** A longer line is none of ours: telemetry bounds each field to 1 KiB. Overflow: passed over. */
const LINE_CHARS_MAX = 256 * 1024;
/** Rules that a policy may have. */
const RULES_MAX = 1000;

const MODES = ["observe", "report", "enforce"] as const;

/** See HELP. */
export const command: Command = {
  summary: "write an allow list from the access log",
  help: HELP,
  async run(argv, terminal) {
    const options = {
      policy: { type: "string" },
      mode: { type: "string" },
      identity: { type: "string", default: "" },
      denied: { type: "boolean", default: false },
    } as const;
    const { positionals, values } = parseArgs({ args: [...argv], options, allowPositionals: true });
    const mode = modeOf(values.mode);
    if (values.policy !== undefined && values.mode !== undefined)
      throw new UsageError("--mode is for a new policy; --policy has its own");
    const existing =
      values.policy === undefined ? null : existingPolicy(values.policy, values.identity, terminal);
    const learned = await learn(positionals.length === 0 ? ["-"] : positionals, terminal, {
      denied: values.denied,
      allows: existing?.allows ?? (() => false),
    });
    if (learned.calls === 0) throw new Failure(noCalls(positionals));
    for (const note of notesOf(learned, values.denied)) terminal.err(`outrider: ${note}\n`);
    const rules = learned.list.rules(existing?.ruleNames);
    if (rules.length > RULES_MAX) {
      throw new Failure(
        `${rules.length} rules, and a policy takes ${RULES_MAX}; give it the log of fewer functions`,
      );
    }
    if (rules.length === 0) {
      terminal.out(existing === null ? "" : "# Nothing is missing.\n");
      return 0;
    }
    const { targets } = learned.list;
    const text =
      existing === null ? policyText(rules, targets, mode) : missingText(rules, targets, values.policy!);
    terminal.out(text);
    return 0;
  },
};

function modeOf(text: string | undefined): Acl["mode"] {
  if (text === undefined) return "report";
  const mode = MODES.find((known) => known === text);
  if (mode === undefined) throw new UsageError(`--mode ${text}: write observe, report or enforce`);
  return mode;
}

function noCalls(files: readonly string[]): string {
  const where = files.length === 0 ? "the standard input" : files.join(", ");
  return `no line of ${where} tells of a call; the lines meant are those of telemetry.access_log: all, with "event": "call"`;
}

/** A policy that is there already, as far as it matters here. */
interface ExistingPolicy {
  readonly allows: (call: ObservedCall) => boolean;
  readonly ruleNames: ReadonlySet<string>;
}

/** @throws ConfigError when it cannot be used */
function existingPolicy(name: string, identity: string, terminal: Terminal): ExistingPolicy {
  const { config } = openPolicy(resolve(terminal.cwd, name), name);
  return {
    allows: allowedBy(config, identity),
    ruleNames: new Set(config.acl.rules.map((rule) => rule.name)),
  };
}

/** Whether a policy allows a call, whatever its mode does about it: the same functions as on the data path. */
function allowedBy({ acl, destinations }: Config, identity: string): (call: ObservedCall) => boolean {
  const access = compileAccess(acl, identity);
  const matcher = compileMatcher(destinations);
  const local = new Map(
    destinations
      .filter(({ localPort }) => localPort !== 0)
      .map((destination) => [destination.name, destination]),
  );
  return ({ destination, host, port, method, path }) => {
    const word = admitTarget(acl, local.get(destination) ?? matchDestination(matcher, host, port));
    return admitCall(rulesFor(access, host, port), word, method, path).allowed;
  };
}

/** What came of reading. */
interface Learned {
  readonly list: AllowList;
  /** Lines that told of a call, whether a rule came of it or not. */
  calls: number;
  /** Those that the access rules had refused. */
  denied: number;
}

async function learn(
  files: readonly string[],
  terminal: Terminal,
  { denied, allows }: { readonly denied: boolean; readonly allows: (call: ObservedCall) => boolean },
): Promise<Learned> {
  const learned: Learned = { list: new AllowList(), calls: 0, denied: 0 };
  for (const file of files) {
    for await (const line of linesOf(file, terminal)) {
      const call = observedCall(line);
      if (call === null) continue;
      learned.calls += 1;
      if (call.isDenied) learned.denied += 1;
      if ((denied || !call.isDenied) && !allows(call)) learned.list.add(call);
    }
  }
  return learned;
}

function notesOf({ list, denied }: Learned, isDeniedLearned: boolean): string[] {
  const notes: string[] = [];
  if (denied > 0 && !isDeniedLearned) {
    notes.push(
      `${counted(denied, "call")} that the policy had refused left out; --denied learns from them too`,
    );
  }
  if (list.ambiguous > 0) {
    notes.push(
      `${counted(list.ambiguous, "call")} left out whose path a server may read as another one (dots, escapes): no rule of paths allows them`,
    );
  }
  if (list.leftOut > 0) {
    notes.push(`${counted(list.leftOut, "call")} to hosts beyond the first ${TARGETS_MAX} left out`);
  }
  return notes;
}

/**
 * The lines of a file, or of the standard input for `-`.
 * @throws Failure when it cannot be read
 */
async function* linesOf(file: string, terminal: Terminal): AsyncGenerator<string> {
  const source = file === "-" ? process.stdin : createReadStream(resolve(terminal.cwd, file));
  source.setEncoding("utf8");
  let rest = "";
  // The line that is being read is too long: what comes of it until it ends is passed over.
  let isPassedOver = false;
  try {
    for await (const chunk of source) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        if (!isPassedOver && line.length <= LINE_CHARS_MAX) yield line;
        isPassedOver = false;
      }
      if (rest.length > LINE_CHARS_MAX) isPassedOver = true;
      if (isPassedOver) rest = "";
    }
  } catch (error) {
    throw new Failure(`${file}: cannot be read: ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
  }
  if (rest !== "") yield rest;
}
