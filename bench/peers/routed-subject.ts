/**
 * What the benches `tunnel`, `intercept` and `h2` need to know of a subject: how it is started, and how a client reaches the
 * origin through it.
 */

import type { Certificates } from "../load/certificates.ts";
import type { Route } from "../load/route.ts";
import type { ServerProcess } from "./server-process.ts";

/** What a subject gets to start with. */
export interface RoutedSurroundings {
  /** Port of the origin on 127.0.0.1. */
  readonly originPort: number;
  /** A temporary folder for its configuration. */
  readonly folder: string;
  /** The authority that issued the origin's certificate, and a certificate for servers of our own. */
  readonly certificates: Certificates;
}

/** A subject that runs. */
export interface Started {
  /** Undefined when there is nothing between the client and the origin. */
  readonly server: ServerProcess | undefined;
  readonly route: Route;
}

/** One contender of a run. */
export interface RoutedSubject {
  readonly name: string;
  /** Its version for the report; undefined when it is no software of its own. */
  readonly version: string | undefined;
  /** Why it cannot run here, as a sentence that names what is missing; undefined when it can. */
  readonly absence: string | undefined;
  /** Headers that the origin must see although the client did not send them, as proof that a feature is on. */
  readonly addedHeaders: readonly string[];
  /** Whether the origin that it forwards to speaks TLS. */
  readonly secureOrigin: boolean;
  /** Share of the counts that it is measured with: a subject that is many times slower than the others gets less to do. */
  readonly share: number;
  start(surroundings: RoutedSurroundings): Promise<Started>;
}

/** The versions of the subjects that have one, by name, for the report. */
export function versionsOf(subjects: readonly RoutedSubject[]): Record<string, string> {
  return Object.fromEntries(subjects.flatMap(({ name, version }) => (version ? [[name, version]] : [])));
}
