/**
 * What a run of the load generator sends and expects, and what it is asked over IPC. Types only.
 */

import type { LoadReport } from "./closed-loop.ts";
import type { Route } from "./route.ts";

/** A request and its answer. */
export interface Expected {
  /** The whole request as HTTP/1.1 text; over HTTP/2 the same fields travel as a header block. */
  readonly request: string;
  /** The body that each answer must carry. */
  readonly body: string;
}

/** Where to, and in which protocol. */
interface Aim extends Expected {
  readonly route: Route;
  readonly protocol: "http1" | "http2";
}

/** Many requests over connections that stay open. */
export interface LoadRun extends Aim {
  readonly kind: "requests";
  readonly connections: number;
  /** Requests in flight on each connection; 1 over HTTP/1.1. */
  readonly streams: number;
  /** Requests in the whole run, at least one for each stream. */
  readonly requests: number;
}

/** Connections that carry one request each; over HTTP/1.1 only. */
export interface HandshakeRun extends Aim {
  readonly kind: "handshakes";
  /** How many are opened at the same time. */
  readonly connections: number;
  readonly handshakes: number;
}

/** Connections that stay open, in addition to those that are held already, after one request each was answered. */
export interface HoldRun extends Aim {
  readonly kind: "hold";
  readonly connections: number;
}

/** Requests on the connections that were held last. Nobody waits for their answers: the origin must hold them back. */
export interface AskRun {
  readonly kind: "ask";
  readonly connections: number;
  /** Requests on each of them. */
  readonly streams: number;
}

/** Closes what is held. */
export interface ReleaseRun {
  readonly kind: "release";
}

/** What the generator can be asked. */
export type LoadCommand = LoadRun | HandshakeRun | HoldRun | AskRun | ReleaseRun;

/** The answer to a command: a report when it measures, nothing when it only acts, or why it failed. */
export type LoadAnswer =
  | { readonly report: LoadReport }
  | { readonly done: true }
  | { readonly failure: string };
