/** Where the policy is. Cold tier; looks at names only, whether a file can be read is found out by `load.ts`. */

/** Name of the environment variable that holds the policy's path. */
export const POLICY_VARIABLE = "OUTRIDER_CONFIG";

/** Names under which commands look for a policy in the current folder. */
export const POLICY_FILE_NAMES = ["outrider.yaml", "outrider.yml", "outrider.json"] as const;

/** Where to look, most explicit first. */
export interface PolicyPlaces {
  /** Named by the user on the command line. */
  readonly explicit?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Paths that are tried when nobody named one. */
  readonly candidates: readonly string[];
  readonly exists: (path: string) => boolean;
}

/** A path, and who named it. */
export interface FoundPolicy {
  readonly path: string;
  readonly from: "argument" | "environment" | "candidate";
}

/**
 * The policy's path; `null` when nobody named one and no candidate exists. A named path is not looked for: if it is wrong, reading it
 * must fail rather than fall back to another policy.
 */
export function findPolicy({ explicit, env, candidates, exists }: PolicyPlaces): FoundPolicy | null {
  if (explicit !== undefined) return { path: explicit, from: "argument" };
  const named = env[POLICY_VARIABLE];
  if (named !== undefined && named !== "") return { path: named, from: "environment" };
  const path = candidates.find((candidate) => exists(candidate));
  return path === undefined ? null : { path, from: "candidate" };
}
