/** `outrider capture`: the rules as text, and what is run of them, with a stand-in for iptables that keeps its state in a file. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { redirectRules } from "../../src/cli/redirect-rules.ts";
import { outrider, type Ran } from "./terminal.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "outrider-capture-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Answers checks by what was made before, and notes all that is run. `refusal` is what a system without the right says. */
function fakeIptables(program = "iptables", refusal = ""): void {
  const script = `#!/bin/sh
echo "\${0##*/} $*" >> "${folder}/ran"
if [ -n "${refusal}" ]; then echo "${refusal}" >&2; exit 4; fi
shift 4
case "$1" in
  -S) test -e "${folder}/${program}.chain" || exit 1 ;;
  -N) touch "${folder}/${program}.chain" ;;
  -X) rm "${folder}/${program}.chain" ;;
  -C) test -e "${folder}/${program}.jump" || exit 1 ;;
  -D) rm "${folder}/${program}.jump" ;;
  -A) test "$2" != OUTPUT || touch "${folder}/${program}.jump" ;;
esac
`;
  writeFileSync(join(folder, program), script);
  chmodSync(join(folder, program), 0o755);
}

const capture = (...argv: string[]): Promise<Ran> =>
  outrider(["capture", ...argv], { env: { PATH: `${folder}:/bin:/usr/bin` } });

/** What has been run since the last look, less what all have in common. */
function ran(): string[] {
  const lines = readFileSync(join(folder, "ran"), "utf8").trimEnd().split("\n");
  writeFileSync(join(folder, "ran"), "");
  return lines.map((line) => line.replace(" -w 5 -t nat", ""));
}

const INSTALL = ["install", "--port", "15001", "--uid", "1337"];

const FILL = [
  "iptables -A OUTRIDER -m owner --uid-owner 1337 -j RETURN",
  "iptables -A OUTRIDER -d 127.0.0.0/8 -j RETURN",
  "iptables -A OUTRIDER -d 169.254.0.0/16 -j RETURN",
  "iptables -A OUTRIDER -d 100.100.100.200 -j RETURN",
  "iptables -A OUTRIDER -d 168.63.129.16 -j RETURN",
  "iptables -A OUTRIDER -p tcp --dport 80 -j REDIRECT --to-ports 15001",
  "iptables -A OUTRIDER -p tcp --dport 443 -j REDIRECT --to-ports 15001",
];

describe("install", () => {
  test("fills a chain of its own before anything is led into it", async () => {
    fakeIptables();
    expect(await capture(...INSTALL)).toEqual({ code: 0, out: "", err: "" });
    expect(ran()).toEqual([
      "iptables -S OUTRIDER",
      "iptables -N OUTRIDER",
      "iptables -F OUTRIDER",
      ...FILL,
      "iptables -C OUTPUT -p tcp -j OUTRIDER",
      "iptables -A OUTPUT -p tcp -j OUTRIDER",
    ]);
  });

  test("a second time replaces what is in the chain and adds nothing else", async () => {
    fakeIptables();
    await capture(...INSTALL);
    ran();
    expect((await capture(...INSTALL, "--ports", "8080", "--exclude", "10.0.0.0/8,192.0.2.1")).code).toBe(0);
    expect(ran()).toEqual([
      "iptables -S OUTRIDER",
      "iptables -F OUTRIDER",
      ...FILL.slice(0, 5),
      "iptables -A OUTRIDER -d 10.0.0.0/8 -j RETURN",
      "iptables -A OUTRIDER -d 192.0.2.1 -j RETURN",
      "iptables -A OUTRIDER -p tcp --dport 8080 -j REDIRECT --to-ports 15001",
      "iptables -C OUTPUT -p tcp -j OUTRIDER",
    ]);
  });

  test("with --ipv6 does the same for both families, each with its own addresses", async () => {
    fakeIptables();
    fakeIptables("ip6tables");
    expect((await capture(...INSTALL, "--ipv6", "--exclude", "10.0.0.0/8,fd00::/8")).code).toBe(0);
    const lines = ran();
    expect(lines.filter((line) => line.includes(" -d "))).toEqual([
      ...FILL.slice(1, 5),
      "iptables -A OUTRIDER -d 10.0.0.0/8 -j RETURN",
      "ip6tables -A OUTRIDER -d ::1 -j RETURN",
      "ip6tables -A OUTRIDER -d fe80::/10 -j RETURN",
      "ip6tables -A OUTRIDER -d fd00:ec2::/32 -j RETURN",
      "ip6tables -A OUTRIDER -d fd20:ce::254 -j RETURN",
      "ip6tables -A OUTRIDER -d fd00::/8 -j RETURN",
    ]);
    expect(lines.at(-1)).toBe("ip6tables -A OUTPUT -p tcp -j OUTRIDER");
  });
});

describe("remove", () => {
  test("takes away all that install made", async () => {
    fakeIptables();
    await capture(...INSTALL);
    ran();
    expect(await capture("remove")).toEqual({ code: 0, out: "", err: "" });
    expect(ran()).toEqual([
      "iptables -S OUTRIDER",
      "iptables -C OUTPUT -p tcp -j OUTRIDER",
      "iptables -D OUTPUT -p tcp -j OUTRIDER",
      "iptables -F OUTRIDER",
      "iptables -X OUTRIDER",
    ]);
  });

  test("is content when there is nothing", async () => {
    fakeIptables();
    expect(await capture("remove")).toEqual({ code: 0, out: "", err: "" });
    expect(ran()).toEqual(["iptables -S OUTRIDER"]);
  });

  test("takes away what an install left that was broken off", async () => {
    fakeIptables();
    writeFileSync(join(folder, "iptables.chain"), "");
    expect((await capture("remove")).code).toBe(0);
    expect(ran().at(-1)).toBe("iptables -X OUTRIDER");
  });
});

test("print writes what install would run, and runs nothing", async () => {
  const { code, out } = await capture("print", "--port", "15001", "--uid", "0", "--ports", "443");
  expect(code).toBe(0);
  const prefix = "iptables -w 5 -t nat";
  expect(out.split("\n")).toEqual([
    `${prefix} -S OUTRIDER >/dev/null 2>&1 || ${prefix} -N OUTRIDER`,
    `${prefix} -F OUTRIDER`,
    ...FILL.slice(0, 5).map((line) => line.replace("iptables", prefix).replace("1337", "0")),
    `${prefix} -A OUTRIDER -p tcp --dport 443 -j REDIRECT --to-ports 15001`,
    `${prefix} -C OUTPUT -p tcp -j OUTRIDER 2>/dev/null || ${prefix} -A OUTPUT -p tcp -j OUTRIDER`,
    "",
  ]);
});

describe("what cannot be done is said in one line, with the remedy:", () => {
  test("no iptables", async () => {
    const { code, err } = await outrider(["capture", ...INSTALL], { env: { PATH: folder } });
    expect(code).toBe(1);
    expect(err).toMatch(/^outrider: there is no iptables here; install the package iptables, or .*\n$/);
  });

  test.each([INSTALL, ["remove"]])("no right to it: %s", async (...argv) => {
    fakeIptables(
      "iptables",
      "iptables v1.8.9 (nf_tables): Could not fetch: Permission denied (you must be root)",
    );
    const { code, err } = await capture(...argv);
    expect(code).toBe(1);
    expect(err).toMatch(/^outrider: iptables: permission denied; it takes NET_ADMIN: .*\n$/);
  });

  test("anything else, with the words of iptables", async () => {
    fakeIptables("iptables", "iptables: No chain/target/match by that name.");
    const { code, err } = await capture(...INSTALL);
    expect(code).toBe(1);
    expect(err).toBe(
      "outrider: iptables -w 5 -t nat -S OUTRIDER: iptables: No chain/target/match by that name.\n",
    );
  });
});

describe("a wrong command line runs nothing:", () => {
  test.each<[string[], string]>([
    [[], "capture takes install, remove or print"],
    [["uninstall"], "capture takes install, remove or print"],
    [["install", "print"], "capture takes one word, not install print"],
    [["install", "--uid", "1"], "--port is missing"],
    [["install", "--port", "15001"], "--uid is missing"],
    [["install", "--port", "0", "--uid", "1"], "--port 0: a port is 1 to 65535"],
    [["install", "--port", "15001", "--uid", "app"], "--uid app: a numeric user id"],
    [["install", "--port", "15001", "--uid", "4294967295"], "--uid 4294967295: a numeric user id"],
    [["install", "--port", "15001", "--uid", "1", "--ports", "80,"], "--ports : a port is 1 to 65535"],
    [
      ["install", "--port", "15001", "--uid", "1", "--exclude", "a.test"],
      "--exclude a.test: write 10.0.0.0/8",
    ],
    [["install", "--port", "15001", "--uid", "1", "--exclude", "fd00::/8"], "captured only with --ipv6"],
  ])("%j", async (argv, said) => {
    const { code, err } = await capture(...argv);
    expect(code).toBe(2);
    expect(err).toContain(said);
  });
});

test("the proxy's own user comes first, and every redirect last", () => {
  const options = { port: 1, uid: 7, ports: [80, 443, 5432], excluded: ["10.0.0.0/8"], ipv6: true };
  for (const { fillChain } of redirectRules(options)) {
    expect(fillChain[0]!.join(" ")).toContain("--uid-owner 7 -j RETURN");
    const redirects = fillChain.map((line) => line.includes("REDIRECT"));
    expect(redirects.indexOf(true)).toBe(redirects.length - 3);
  }
});
