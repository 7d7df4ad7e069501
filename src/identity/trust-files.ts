/**
 * Reads the trust that is there and writes the files that add the sandbox's authority to it.
 *
 * Owns the directory: who may have made it, and that nothing in it is followed. What the files hold is decided in `trust.ts`.
 */
import { randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  lstatSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { ADDING_VARIABLE, composeTrust, REPLACING_VARIABLES } from "./trust.ts";

/** Where systems keep their roots: Debian, Amazon Linux and RHEL, Alpine and macOS, RHEL without the compatibility link. */
const SYSTEM_ROOTS = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/cert.pem",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

/** Bytes of a file of certificates; all public roots together are a twentieth. Overflow: the file is left out, and that is said. */
export const CA_FILE_BYTES_MAX = 4 * 1024 * 1024;

/** Variable under which the extension's starter hands on `NODE_EXTRA_CA_CERTS`, which it has to keep from the extension's own Node. */
const HANDED_ON_VARIABLE = "OUTRIDER_NODE_EXTRA_CA_CERTS";

/** Only the owner enters a directory of ours; the application is the same user. */
const OWN_DIRECTORY_MODE = 0o700;
/** A directory that the user names is for sharing. */
const NAMED_DIRECTORY_MODE = 0o755;
/** Certificates are public. */
const FILE_MODE = 0o644;

/** The files cannot be written. The message is one sentence with the remedy. */
export class TrustFilesError extends Error {}

/** Where the files go. */
export interface TrustPlace {
  /** Absolute. */
  readonly directory: string;
  /** Named by the user, who answers for who may write to it; else it has to be ours alone. */
  readonly named: boolean;
}

/** The user's variables, in which paths of certificates are. */
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Writes the files for `authority` (PEM); those of an earlier life are replaced. Returns the sentences about what the user named
 * and could not be taken over.
 * @throws TrustFilesError
 */
export function writeTrustFiles(authority: string, place: TrustPlace, env: Environment): string[] {
  const { sources, problems } = readTrust(place.directory, env);
  const files = composeTrust({ authority, ...sources });
  try {
    makeDirectory(place);
    for (const [name, content] of files) replaceFile(join(place.directory, name), content);
  } catch (error) {
    if (error instanceof TrustFilesError) throw error;
    throw unusable(place.directory, `cannot be written to (${(error as NodeJS.ErrnoException).code})`);
  }
  return problems;
}

/** Removes the files, for a host that ends before its machine does. What is not there any more is no error. */
export function removeTrustFiles({ directory, named }: TrustPlace): void {
  if (!named) rmSync(directory, { recursive: true, force: true });
}

/** What is trusted without us. */
function readTrust(directory: string, env: Environment) {
  const problems: string[] = [];
  const contentOf = (variable: string, path: string | undefined): string => {
    if (path === undefined || path === "") return "";
    const read = readUserFile(resolve(path), directory);
    if ("text" in read) return read.text;
    problems.push(`${variable}: ${path}: ${read.problem}`);
    return "";
  };
  const userExtra = contentOf(ADDING_VARIABLE, env[ADDING_VARIABLE] || env[HANDED_ON_VARIABLE]);
  const userBundles = REPLACING_VARIABLES.map((variable) => contentOf(variable, env[variable]));
  return { sources: { systemRoots: systemRoots(), userExtra, userBundles }, problems };
}

/** The first of the system's files that can be read; Node's own roots on a system that has none, as small images do not. */
function systemRoots(): string {
  for (const path of SYSTEM_ROOTS) {
    const read = existsSync(path) ? readText(path) : null;
    if (read !== null && "text" in read) return read.text;
  }
  return process.getBuiltinModule("node:tls").rootCertificates.join("\n");
}

/** Text of a file that a variable names, or why it is left out. */
function readUserFile(path: string, directory: string): { text: string } | { problem: string } {
  // Set by an earlier life, whose authority is gone: taken over, it would stay in the files for ever.
  if (path.startsWith(`${directory}/`))
    return { problem: "is a file of Outrider's own, from an earlier start; name the original there" };
  return readText(path);
}

function readText(path: string): { text: string } | { problem: string } {
  try {
    const text = readBounded(path);
    if (text.length > CA_FILE_BYTES_MAX)
      return { problem: "is larger than 4 MiB and is left out; name a file of certificates" };
    return { text };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === "ENOENT" ? "does not exist" : `cannot be read (${code})`;
    return { problem: `${why} and is left out; correct the path` };
  }
}

/** At most one byte more than allowed, so that a device ends too. A character a byte: others than ASCII occur in comments only. */
function readBounded(path: string): string {
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const buffer = Buffer.allocUnsafe(CA_FILE_BYTES_MAX + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < buffer.length; length += Math.max(read, 0))
      read = readSync(file, buffer, length, buffer.length - length, null);
    return buffer.latin1Slice(0, length);
  } finally {
    closeSync(file);
  }
}

/**
 * Makes the directory, or takes the one of an earlier life. One that somebody else could have prepared is refused: who may
 * write there decides whom the application trusts.
 */
function makeDirectory({ directory, named }: TrustPlace): void {
  if (named) {
    mkdirSync(directory, { recursive: true, mode: NAMED_DIRECTORY_MODE });
    return;
  }
  try {
    mkdirSync(directory, { mode: OWN_DIRECTORY_MODE });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  const facts = lstatSync(directory);
  if (!facts.isDirectory()) throw unusable(directory, "is no directory");
  if (facts.uid !== process.geteuid!()) throw unusable(directory, "belongs to another user");
  if ((facts.mode & 0o022) !== 0) throw unusable(directory, "may be written to by others");
}

const unusable = (directory: string, why: string): TrustFilesError =>
  new TrustFilesError(
    `${directory}: ${why}; the files that make clients trust the sandbox's authority go there: remove it, or name another directory in OUTRIDER_CA_DIR`,
  );

/** Puts a new file in place: a link that function code left there is replaced, not followed, and nobody reads half a file. */
function replaceFile(path: string, content: string | Buffer): void {
  const fresh = `${path}.${randomBytes(6).toString("hex")}`;
  const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
  const file = openSync(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, FILE_MODE);
  try {
    const bytes = typeof content === "string" ? Buffer.from(content, "latin1") : content;
    for (let written = 0; written < bytes.length; ) written += writeSync(file, bytes, written);
    // Whatever the umask says.
    fchmodSync(file, FILE_MODE);
    renameSync(fresh, path);
  } catch (error) {
    rmSync(fresh, { force: true });
    throw error;
  } finally {
    closeSync(file);
  }
}
