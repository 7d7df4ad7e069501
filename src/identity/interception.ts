/**
 * What a host does before the application starts, when the policy opens TLS: makes the authority, and the files by which clients
 * come to trust it. Synchronous, because the application waits for it.
 */
import { join, resolve } from "node:path";
import type { Clock } from "../clock.ts";
import { type Authority, createAuthority } from "./authority.ts";
import { TRUST_FILE_NAMES } from "./trust.ts";
import { type Environment, removeTrustFiles, type TrustPlace, writeTrustFiles } from "./trust-files.ts";

export { LONG_VALIDITY_MS, SANDBOX_VALIDITY_MS } from "./authority.ts";
export { TrustFilesError } from "./trust-files.ts";

/** Variable that names the directory, for containers that share a volume. */
export const DIRECTORY_VARIABLE = "OUTRIDER_CA_DIR";

/** How the host prepares. */
export interface InterceptionOptions {
  readonly clock: Clock;
  /** See `SANDBOX_VALIDITY_MS` and `LONG_VALIDITY_MS`. */
  readonly validityMs: number;
  readonly env: Environment;
  /** Directory that is used when `OUTRIDER_CA_DIR` names none; it has to be the user's alone. */
  readonly directory: string;
}

/** An authority that clients can be told to trust. */
export interface Interception {
  readonly authority: Authority;
  /** Absolute; holds the files of `TRUST_FILE_NAMES`. */
  readonly directory: string;
  /** Paths for users to set: what is added to a client's roots, and what replaces them. */
  readonly files: { readonly extra: string; readonly bundle: string };
  /** One sentence for each file that the user's variables name and that could not be taken over. */
  readonly problems: readonly string[];
  /** Takes the files away again, unless the user named the directory. */
  remove(): void;
}

/** @throws TrustFilesError when the files cannot be written */
export function prepareInterception({
  clock,
  validityMs,
  env,
  directory,
}: InterceptionOptions): Interception {
  const named = env[DIRECTORY_VARIABLE] || null;
  const place: TrustPlace = { directory: resolve(named ?? directory), named: named !== null };
  const authority = createAuthority(clock, validityMs);
  const problems = writeTrustFiles(authority.certificatePem, place, env);
  return {
    authority,
    directory: place.directory,
    files: {
      extra: join(place.directory, TRUST_FILE_NAMES.extra),
      bundle: join(place.directory, TRUST_FILE_NAMES.bundle),
    },
    problems,
    remove: () => removeTrustFiles(place),
  };
}
