/** Imports point one way: leaves ← codec, configuration, lifecycle ← rooms ← proxy ← command line and adapters. */
import { globSync } from "node:fs";
import { isBuiltin } from "node:module";
import { beforeAll, describe, expect, test } from "vitest";
import { type Edge, edgesOf, edgesOfText } from "./graph.ts";

/** Files directly in `src` that know nobody, except one another. */
const LEAVES = ["exchange", "errors", "clock", "latch", "body", "patience", "buffer.d"];
/** What rooms stand on. */
const GROUND = ["http1", "http2", "config", "lifecycle"];
const ROOMS = ["listener", "capture", "route", "policy", "upstream", "identity", "telemetry", "fleet"];

/** How high a place of the tree stands; it may import what is lower, and itself. */
const HEIGHT: ReadonlyMap<string, number> = new Map([
  ...LEAVES.map((name) => [name, 0] as const),
  ...GROUND.map((name) => [name, 1] as const),
  ...ROOMS.map((name) => [name, 2] as const),
  ["proxy", 3],
  ["cli", 4],
  ["adapters", 4],
]);

/** Every import that does not follow the heights, with the reason why it may be. */
const EXCEPTIONS: readonly { from: RegExp; to: RegExp; kinds: readonly Edge["kind"][]; why: string }[] = [
  {
    from: /^src\/listener\/(connection|dialect|http2-request|opening|request-reader)\.ts$/,
    to: /^src\/capture\/(client-hello|first-bytes|http2-target|request|socks|target)\.ts$/,
    kinds: ["static", "type"],
    why: "what a request wants is read as soon as its head is here, by pure functions that the connection calls for every one",
  },
  {
    from: /^src\/listener\/(context|handshake|http2-connection|http2-exchange|listener|plan|relay|tunnel-request)\.ts$/,
    to: /^src\/capture\/target\.ts$/,
    kinds: ["type"],
    why: "a listening socket carries the role that capture reads",
  },
  {
    from: /^src\/fleet\//,
    to: /^src\/policy\/(breaker-store|rate-source)\.ts$/,
    kinds: ["type"],
    why: "the fleet implements what limits and breakers ask of it",
  },
  {
    from: /^src\/fleet\/(leased-tokens|share|tokens-script)\.ts$/,
    to: /^src\/policy\/token-bucket\.ts$/,
    kinds: ["static", "type"],
    why: "a sandbox without word from the store keeps to a bucket as its own limits do",
  },
  {
    from: /^src\/cli\/emulate\.ts$/,
    to: /^adapters\/local\/(emulator|cold-start|logs|options)\.ts$/,
    kinds: ["dynamic", "type"],
    why: "the emulator is a command of the program, loaded only when it runs",
  },
  {
    from: /^src\/cli\/main\.ts$/,
    to: /^package\.json$/,
    kinds: ["dynamic"],
    why: "from source the version is the package's; the build replaces it",
  },
];

/** Who may import a third-party package: one file or one room. */
const PACKAGES: ReadonlyMap<string, RegExp> = new Map([
  ["pino", /^src\/telemetry\/log\.ts$/],
  ["yaml", /^src\/config\//],
  ["zod", /^src\/config\//],
]);

/** The place of a file in the order of imports. */
function placeOf(path: string): string {
  const [top, second = ""] = path.split("/");
  return top === "src" ? second.replace(/\.ts$/, "") : top!;
}

const isFile = (path: string): boolean =>
  /^(src|adapters|layers|bench|test|examples)\/|^package\.json$/.test(path);

/** What is wrong with an import, or `null`. */
function complaint(edge: Edge): string | null {
  const { from, to, kind } = edge;
  if (EXCEPTIONS.some((one) => one.from.test(from) && one.to.test(to) && one.kinds.includes(kind)))
    return null;
  if (!isFile(to)) return outsideComplaint(edge);
  const [a, b] = [placeOf(from), placeOf(to)];
  if (a === b) return null;
  const [high, low] = [HEIGHT.get(a), HEIGHT.get(b)];
  if (high === undefined)
    return `${from}: "${a}" has no place in the order of imports; give it one in HEIGHT`;
  if (low === undefined) return `${from} imports ${to}, which is no part of the program`;
  if (high > low) return null;
  if (high === low && high < 2) return null;
  return `${from} imports ${to}: ${a} may not know ${b}`;
}

function outsideComplaint({ from, to }: Edge): string | null {
  if (isBuiltin(to)) return to.startsWith("node:") ? null : `${from} imports "${to}": write "node:${to}"`;
  const owner = PACKAGES.get(to);
  if (owner === undefined) return `${from} imports the package ${to}, which has no owner here`;
  return owner.test(from) ? null : `${from} imports ${to}: only ${owner.source} may`;
}

const complaints = (edges: readonly Edge[]): string[] => edges.map(complaint).filter((text) => text !== null);

const SOURCES = globSync(["src/**/*.ts", "adapters/**/*.ts"]).filter((file) => !file.endsWith(".d.ts"));

let edges: readonly Edge[] = [];
beforeAll(async () => {
  edges = await edgesOf(SOURCES);
});

describe("the direction of imports", () => {
  test("is kept by every file of src and adapters", () => {
    expect(complaints(edges)).toEqual([]);
  });

  test("is judged on the whole program", () => {
    const seen = new Set(edges.map(({ from }) => from));
    for (const file of [
      "src/proxy.ts",
      "src/cli/main.ts",
      "adapters/lambda/main.ts",
      "src/upstream/wire.ts",
    ]) {
      expect(seen).toContain(file);
    }
    expect(edges.filter(({ kind }) => kind === "type").length).toBeGreaterThan(50);
    expect(edges).toContainEqual({ from: "src/telemetry/log.ts", to: "pino", kind: "static" });
    expect(edges).toContainEqual({
      from: "adapters/lambda/main.ts",
      to: "src/proxy.ts",
      kind: "dynamic",
    });
  });

  test.each(EXCEPTIONS.map((one) => [one.why, one] as const))("has an exception in use: %s", (_why, one) => {
    expect(
      edges.some(({ from, to, kind }) => one.from.test(from) && one.to.test(to) && one.kinds.includes(kind)),
    ).toBe(true);
  });

  test.each([...PACKAGES.keys()])("has a use for the owner of %s", (name) => {
    expect(edges.some(({ to }) => to === name)).toBe(true);
  });
});

/** Modules that break a rule each, and what is said about them. */
const WRONG: readonly [what: string, from: string, text: string, said: string][] = [
  [
    "a room that imports another",
    "src/policy/x.ts",
    'import "../telemetry/telemetry.ts";',
    "policy may not know telemetry",
  ],
  [
    "a room that names another's type",
    "src/route/x.ts",
    'import type { Wire } from "../upstream/wire.ts";',
    "route may not know upstream",
  ],
  [
    "a room that imports another lazily",
    "src/policy/x.ts",
    'await import("../telemetry/log.ts");',
    "policy may not know telemetry",
  ],
  ["a leaf that imports a room", "src/clock.ts", 'import "./policy/chain.ts";', "clock may not know policy"],
  [
    "a leaf that imports the codec",
    "src/errors.ts",
    'import "./http1/fields.ts";',
    "errors may not know http1",
  ],
  [
    "a room that imports the story",
    "src/listener/x.ts",
    'import "../proxy.ts";',
    "listener may not know proxy",
  ],
  [
    "the story that imports an adapter",
    "src/proxy.ts",
    'import "../adapters/lambda/host.ts";',
    "proxy may not know adapters",
  ],
  [
    "the command line that imports an adapter at once",
    "src/cli/emulate.ts",
    'import "../../adapters/local/emulator.ts";',
    "cli may not know adapters",
  ],
  [
    "an adapter that imports the command line",
    "adapters/lambda/x.ts",
    'import "../../src/cli/main.ts";',
    "adapters may not know cli",
  ],
  [
    "the program that imports its tests",
    "src/policy/x.ts",
    'import "../../test/kit/origin.ts";',
    "no part of the program",
  ],
  [
    "a second importer of a package",
    "src/policy/x.ts",
    'import "pino";',
    "only ^src\\/telemetry\\/log\\.ts$ may",
  ],
  ["a package without an owner", "src/policy/x.ts", 'import "left-pad";', "has no owner here"],
  ["a module of Node without its prefix", "src/policy/x.ts", 'import "net";', 'write "node:net"'],
  [
    "a folder that nobody placed",
    "src/utils/x.ts",
    'import type { Clock } from "../clock.ts";',
    "has no place in the order",
  ],
];

describe("the check of imports finds", () => {
  test.each(WRONG)("%s", async (_what, from, text, said) => {
    expect(complaints(await edgesOfText(from, text)).join("\n")).toContain(said);
  });
});
