/** The directory of the trust files: what is read for them, how they are written, and who is refused. */
import { X509Certificate } from "node:crypto";
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { createAuthority } from "../../src/identity/authority.ts";
import {
  type Interception,
  prepareInterception,
  SANDBOX_VALIDITY_MS,
} from "../../src/identity/interception.ts";
import { certificatesIn } from "../../src/identity/pem.ts";
import { CA_FILE_BYTES_MAX, TrustFilesError } from "../../src/identity/trust-files.ts";
import { certificate } from "../kit/certificates.ts";
import { unprivileged } from "../kit/unprivileged.ts";
import { folder } from "./openssl.ts";

const pem = (): string => createAuthority(systemClock).certificatePem;

const prepare = (directory: string, env: Record<string, string> = {}): Interception =>
  prepareInterception({ clock: systemClock, validityMs: SANDBOX_VALIDITY_MS, env, directory });

const NAMES = ["bundle.pem", "ca.pem", "extra-ca.pem", "truststore.p12"];
const modeOf = (path: string): string => (statSync(path).mode & 0o7777).toString(8);
const read = (directory: string, name: string): string => readFileSync(join(directory, name), "latin1");
const subjects = (text: string): string[] =>
  certificatesIn(text).map(({ block }) => new X509Certificate(block).subject);
const subject = (text: string): string => subjects(text)[0]!;

describe("S10 the trust files", () => {
  test("are all that is there: readable for all, in a directory of the owner's alone, whatever the umask", () => {
    using at = folder();
    const directory = join(at.path, "ca");
    const before = process.umask(0o077);
    try {
      prepare(directory);
    } finally {
      process.umask(before);
    }
    expect(readdirSync(directory).sort()).toEqual(NAMES);
    expect(modeOf(directory)).toBe("700");
    expect(NAMES.map((name) => modeOf(join(directory, name)))).toEqual(["644", "644", "644", "644"]);
  });

  test("hold no key", () => {
    using at = folder();
    const { authority, directory } = prepare(join(at.path, "ca"));
    authority.contextFor("api.example");
    for (const name of NAMES) expect(read(directory, name)).not.toContain("PRIVATE KEY");
    expect(read(directory, "ca.pem")).toBe(authority.certificatePem);
  });

  test("replace those of an earlier life, and leave no other file", () => {
    using at = folder();
    const first = prepare(join(at.path, "ca"));
    const second = prepare(join(at.path, "ca"));
    expect(read(second.directory, "ca.pem")).toBe(second.authority.certificatePem);
    expect(read(second.directory, "bundle.pem")).not.toContain(first.authority.certificatePem);
    expect(readdirSync(second.directory).sort()).toEqual(NAMES);
  });

  test("replace links that were left there, and never follow them", () => {
    using at = folder();
    const directory = join(at.path, "ca");
    const victim = at.file("victim", "precious");
    mkdirSync(directory, { mode: 0o700 });
    for (const name of NAMES) symlinkSync(victim, join(directory, name));
    prepare(directory);
    expect(readFileSync(victim, "latin1")).toBe("precious");
    expect(NAMES.map((name) => lstatSync(join(directory, name)).isFile())).toEqual([true, true, true, true]);
  });
});

describe("S10 a directory that somebody else may have prepared is refused:", () => {
  const refused = (directory: string, why: string): void => {
    expect(() => prepare(directory)).toThrow(TrustFilesError);
    expect(() => prepare(directory)).toThrow(
      `${directory}: ${why}; the files that make clients trust the sandbox's authority go there: remove it, or name another directory in OUTRIDER_CA_DIR`,
    );
  };

  test("a link, even to a directory of one's own", () => {
    using at = folder();
    mkdirSync(join(at.path, "mine"), { mode: 0o700 });
    symlinkSync(join(at.path, "mine"), join(at.path, "ca"));
    refused(join(at.path, "ca"), "is no directory");
    expect(readdirSync(join(at.path, "mine"))).toEqual([]);
  });

  test("a file", () => {
    using at = folder();
    refused(at.file("ca", ""), "is no directory");
  });

  test.each([0o770, 0o702, 0o777])("one of mode %o", (mode) => {
    using at = folder();
    const directory = join(at.path, "ca");
    mkdirSync(directory);
    chmodSync(directory, mode);
    refused(directory, "may be written to by others");
    expect(readdirSync(directory)).toEqual([]);
  });

  test.skipIf(process.geteuid?.() !== 0)("one of another user (skipped unless run by root)", () => {
    using at = folder();
    const directory = join(at.path, "ca");
    mkdirSync(directory, { mode: 0o700 });
    chownSync(directory, 65_534, 65_534);
    refused(directory, "belongs to another user");
  });

  test("one in a folder that cannot be written to", async () => {
    using at = folder();
    chmodSync(at.path, 0o555);
    await unprivileged(() => refused(join(at.path, "ca"), "cannot be written to (EACCES)"));
  });

  test("one that cannot be made, since a folder of the path is missing", () => {
    using at = folder();
    refused(join(at.path, "missing", "ca"), "cannot be written to (ENOENT)");
  });
});

describe("a directory that OUTRIDER_CA_DIR names", () => {
  test("is made for everybody to read, with the folders above it", () => {
    using at = folder();
    const named = join(at.path, "shared", "trust");
    const { directory } = prepare(join(at.path, "unused"), { OUTRIDER_CA_DIR: named });
    expect(directory).toBe(named);
    expect(modeOf(named)).toBe("755");
    expect(readdirSync(named).sort()).toEqual(NAMES);
  });

  test("is used as it is, also through a link, and stays", () => {
    using at = folder();
    mkdirSync(join(at.path, "volume"));
    chmodSync(join(at.path, "volume"), 0o777);
    symlinkSync(join(at.path, "volume"), join(at.path, "link"));
    const interception = prepare(join(at.path, "unused"), { OUTRIDER_CA_DIR: join(at.path, "link") });
    interception.remove();
    expect(readdirSync(join(at.path, "volume")).sort()).toEqual(NAMES);
    expect(modeOf(join(at.path, "volume"))).toBe("777");
  });
});

describe("a directory of our own", () => {
  test("is removed when the host says so, any number of times", () => {
    using at = folder();
    const interception = prepare(join(at.path, "ca"));
    interception.remove();
    interception.remove();
    expect(readdirSync(at.path)).toEqual([]);
  });

  test("is named with the paths that clients are given", () => {
    using at = folder();
    const { directory, files } = prepare(join(at.path, "ca"));
    expect(files).toEqual({ extra: join(directory, "extra-ca.pem"), bundle: join(directory, "bundle.pem") });
  });
});

describe("what the user trusts already", () => {
  const [corporate, extra] = [pem(), pem()];

  test("is taken from every variable: what replaces goes to the bundle, what adds to the file that adds", () => {
    using at = folder();
    const files = [pem(), pem(), pem(), pem(), corporate];
    const names = [
      "SSL_CERT_FILE",
      "REQUESTS_CA_BUNDLE",
      "CURL_CA_BUNDLE",
      "AWS_CA_BUNDLE",
      "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    ];
    const env = Object.fromEntries(names.map((name, index) => [name, at.file(name, files[index]!)]));
    const { directory, authority, problems } = prepare(join(at.path, "ca"), {
      ...env,
      NODE_EXTRA_CA_CERTS: at.file("extra", extra),
    });
    expect(problems).toEqual([]);
    const ours = subject(authority.certificatePem);
    expect(subjects(read(directory, "bundle.pem")).slice(-6)).toEqual([...files.map(subject), ours]);
    expect(subjects(read(directory, "extra-ca.pem"))).toEqual([ours, subject(extra)]);
  });

  test("is taken from the variable by which the extension's starter hands NODE_EXTRA_CA_CERTS on", () => {
    using at = folder();
    const { directory } = prepare(join(at.path, "ca"), {
      OUTRIDER_NODE_EXTRA_CA_CERTS: at.file("extra", extra),
    });
    expect(subjects(read(directory, "extra-ca.pem"))).toContain(subject(extra));
  });

  test("comes after the roots of the system", () => {
    using at = folder();
    const { directory } = prepare(join(at.path, "ca"));
    expect(subjects(read(directory, "bundle.pem")).length).toBeGreaterThan(50);
  });

  test("has its keys left out", () => {
    using at = folder();
    const { directory } = prepare(join(at.path, "ca"), {
      SSL_CERT_FILE: at.file("both.pem", certificate("server").cert),
    });
    expect(read(directory, "bundle.pem")).not.toContain("PRIVATE KEY");
  });

  test.each([
    [
      "is not there",
      (at: string) => join(at, "gone.pem"),
      "does not exist and is left out; correct the path",
    ],
    ["is a directory", (at: string) => at, "cannot be read (EISDIR) and is left out; correct the path"],
    [
      "is too large",
      (at: string) => {
        writeFileSync(join(at, "large.pem"), Buffer.alloc(CA_FILE_BYTES_MAX + 1));
        return join(at, "large.pem");
      },
      "is larger than 4 MiB and is left out; name a file of certificates",
    ],
    ["never ends", () => "/dev/zero", "is larger than 4 MiB and is left out; name a file of certificates"],
    [
      "is ours, from an earlier start",
      (at: string) => join(at, "ca", "bundle.pem"),
      "is a file of Outrider's own, from an earlier start; name the original there",
    ],
  ])("is left out, and that is said in a sentence, when the file %s", (_what, pathIn, problem) => {
    using at = folder();
    const path = pathIn(at.path);
    const { directory, problems } = prepare(join(at.path, "ca"), { SSL_CERT_FILE: path });
    expect(problems).toEqual([`SSL_CERT_FILE: ${path}: ${problem}`]);
    expect(readdirSync(directory).sort()).toEqual(NAMES);
  });

  test("is no problem where a variable is empty", () => {
    using at = folder();
    expect(prepare(join(at.path, "ca"), { SSL_CERT_FILE: "", NODE_EXTRA_CA_CERTS: "" }).problems).toEqual([]);
  });
});
