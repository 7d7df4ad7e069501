/**
 * Picks the subjects of a run. Pure.
 */

import type { BenchOptions } from "./bench.ts";

/** Of a subject, what the choice needs: its name, and why it cannot run here, if so. */
interface Candidate {
  readonly name: string;
  readonly absence: string | undefined;
}

/** The candidates that were asked for and can run, and a sentence for each that was asked for and cannot. */
export function choose<T extends Candidate>(
  candidates: readonly T[],
  { only }: Pick<BenchOptions, "only">,
): { readonly present: T[]; readonly skipped: string[] } {
  const asked = candidates.filter(({ name }) => only?.includes(name) ?? true);
  return {
    present: asked.filter(({ absence }) => absence === undefined),
    skipped: asked.flatMap(({ name, absence }) => (absence ? [`${name} was skipped: ${absence}.`] : [])),
  };
}
