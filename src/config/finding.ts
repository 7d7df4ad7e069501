/** A problem of a merged policy before its place in the file is known. */
import { type Layer, layerOf } from "./merge.ts";
import type { Problem } from "./problem.ts";

/** Steps of a key, for instance `["retry", "backoff", "max"]`. */
export type Key = readonly string[];

/** See the file's header. */
export interface Finding {
  readonly severity: Problem["severity"];
  /** The keys that have a part in it; the last one that the level states is pointed at. */
  readonly keys: readonly Key[];
  readonly message: string;
}

/** Something that keeps the policy from being used. */
export function refusal(keys: readonly Key[], message: string): Finding {
  return { severity: "error", keys, message };
}

/** Something that is easily meant otherwise. */
export function doubt(keys: readonly Key[], message: string): Finding {
  return { severity: "warning", keys, message };
}

/** Whether some level of the file states `key`. */
export function isStated(layers: readonly Layer[], key: Key): boolean {
  return layerOf(layers, key).origin !== "built-in";
}

/**
 * The findings whose last word the last level has: a destination does not repeat what is wrong with `defaults`.
 */
export function ownProblems(findings: readonly Finding[], layers: readonly Layer[]): Problem[] {
  const own = layers.at(-1)!;
  return findings.flatMap(({ severity, keys, message }) => {
    const key = keys.findLast((involved) => layerOf(layers, involved) === own);
    return key === undefined
      ? []
      : [{ severity, path: [...own.path, ...key], at: "value", message } as const];
  });
}
