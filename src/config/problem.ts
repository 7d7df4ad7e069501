/** What is wrong with a policy file, and where. */

/** Steps from the root of the file to a value. */
export type Path = readonly (string | number)[];

/** One finding: an error keeps the policy from being used, a warning does not. */
export interface Problem {
  readonly severity: "error" | "warning";
  readonly path: Path;
  /** Whether the message is about the key itself (unknown, superfluous) or about its value: decides which of both is pointed at. */
  readonly at: "key" | "value";
  /** A clause that reads behind the path: what is wrong, then the remedy. */
  readonly message: string;
}

/** An error about the value at `path`. */
export function errorAt(path: Path, message: string): Problem {
  return { severity: "error", path, at: "value", message };
}

/** A warning about the value at `path`. */
export function warningAt(path: Path, message: string): Problem {
  return { severity: "warning", path, at: "value", message };
}
