/**
 * The order of a run whose subjects are measured one after the other: all are checked, then each round measures each of them, in an
 * order drawn from the seed. Owns the order and the collection; what is measured is the course's.
 */

import type { BenchOptions } from "./bench.ts";
import type { RoutedSubject } from "./peers/routed-subject.ts";
import { type MetricName, Samples } from "./report.ts";
import { shuffled } from "./seed.ts";

/** What a course does with one subject. */
export interface Measuring {
  /** Throws an Error that names the subject when it does not pass on what it is given. */
  check(subject: RoutedSubject): Promise<void>;
  round(subject: RoutedSubject): Promise<Partial<Record<MetricName, number>>>;
}

/** Checks and measures all subjects. Rounds count from 1. */
export async function measureInRounds(
  subjects: readonly RoutedSubject[],
  rounds: number,
  course: Measuring,
  random: () => number,
  { progress }: Pick<BenchOptions, "progress">,
): Promise<Samples> {
  const samples = new Samples(subjects.map(({ name }) => name));
  for (const subject of subjects) {
    await course.check(subject);
    progress(`${subject.name}: its answers are right`);
  }
  for (let round = 1; round <= rounds; round++) {
    for (const subject of shuffled(subjects, random)) {
      progress(`round ${round} of ${rounds}: ${subject.name}`);
      samples.add(subject.name, await course.round(subject));
    }
  }
  return samples;
}
