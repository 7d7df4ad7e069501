/** What every program of this folder prints of a call, so that one test can read them all. */
import { createHash } from "node:crypto";

/** One line: what was done, the status, and the hash of the body that came back. */
export function report(what: string, status: number | undefined, body: Uint8Array): void {
  process.stdout.write(`${what} ${status} ${createHash("sha256").update(body).digest("hex")}\n`);
}

/** The usual arguments: three URLs without their last segment, and the file to upload. */
export function usualArguments(): { governed: string; blind: string; plain: string; file: string } {
  const [governed, blind, plain, file] = process.argv.slice(2) as [string, string, string, string];
  return { governed, blind, plain, file };
}
