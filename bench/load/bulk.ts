/**
 * What the generator and the origin of the bench `tunnel` say to each other and to their parent. Pure.
 *
 * A client begins with a head of ten bytes: 0x00, which no method and no TLS record begins with, the wish, and a count of bytes.
 * After `send` it sends so many bytes of the pattern and the origin confirms them with one byte; after `receive` the origin
 * sends them; after `greet` the origin answers with one byte at once. Then the client may wish again.
 */

import { seededRandom } from "../seed.ts";
import type { Route } from "./route.ts";

/** What a client asks of the origin. */
export type Wish = "send" | "receive" | "greet";

const wishes: readonly Wish[] = ["send", "receive", "greet"];

/** Bytes of a head. */
export const headBytes = 10;

/** The one byte of a confirmation. */
export const confirmation = Buffer.from([0x06]);

/** Bytes after which the pattern begins again, and the size of each write. */
export const patternBytes = 64 * 1024;

/** Writes a head. */
export function writeHead(wish: Wish, bytes: number): Buffer {
  const head = Buffer.alloc(headBytes);
  head[1] = wishes.indexOf(wish);
  head.writeBigUInt64BE(BigInt(bytes), 2);
  return head;
}

/** Reads a head; throws an Error when the bytes are none. */
export function readHead(head: Buffer): { readonly wish: Wish; readonly bytes: number } {
  const wish = wishes[head[1] ?? wishes.length];
  if (head.length !== headBytes || head[0] !== 0 || wish === undefined) {
    throw new Error(`expected a head, got ${head.toString("hex")}`);
  }
  return { wish, bytes: Number(head.readBigUInt64BE(2)) };
}

/** `patternBytes` bytes drawn from the seed: nothing on the way can compress or guess them. */
export function patternOf(seed: number): Buffer {
  const random = seededRandom(seed);
  return Buffer.from(Array.from({ length: patternBytes }, () => Math.floor(random() * 256)));
}

/** Checks that bytes are the pattern, wherever they are cut. */
export class PatternReader {
  readonly #pattern: Buffer;
  readonly #total: number;
  #read = 0;

  /** Expects `total` bytes. */
  constructor(pattern: Buffer, total: number) {
    this.#pattern = pattern;
    this.#total = total;
  }

  /** Whether all bytes have come. */
  get complete(): boolean {
    return this.#read === this.#total;
  }

  /** Takes the next bytes; throws an Error that says where they differ, or that they are too many. */
  read(bytes: Buffer): void {
    if (this.#read + bytes.length > this.#total) throw new Error(`more than ${this.#total} bytes arrived`);
    for (let at = 0; at < bytes.length; ) {
      const from = this.#read % patternBytes;
      const length = Math.min(patternBytes - from, bytes.length - at);
      if (bytes.compare(this.#pattern, from, from + length, at, at + length) !== 0) {
        throw new Error(`the bytes differ between ${this.#read} and ${this.#read + length}`);
      }
      at += length;
      this.#read += length;
    }
  }
}

/** Many bytes over a few connections. */
export interface BulkRun {
  readonly kind: "bulk";
  readonly route: Route;
  readonly wish: "send" | "receive";
  readonly connections: number;
  /** For each connection. */
  readonly bytes: number;
}

/** Connections that are greeted and closed, one after the other in `connections` places. */
export interface ConnectRun {
  readonly kind: "connect";
  readonly route: Route;
  readonly connections: number;
  readonly total: number;
}

/** Connections that are greeted and stay, in addition to those that are held already. */
export interface HoldTunnels {
  readonly kind: "hold";
  readonly route: Route;
  readonly connections: number;
}

/** What the generator can be asked; `release` closes what is held, `pattern` comes first. */
export type BulkCommand =
  | { readonly kind: "pattern"; readonly seed: number }
  | BulkRun
  | ConnectRun
  | HoldTunnels
  | { readonly kind: "release" };

/** Its answer: how long the run took, or why it failed. */
export type BulkAnswer = { readonly elapsedMs: number } | { readonly failure: string };

/** What the origin can be asked, one answer each. */
export type BulkOriginCommand =
  | { readonly kind: "listen"; readonly seed: number }
  | { readonly kind: "report" };

/** The origin's answer: its port, and how many connections and bytes of the pattern it has served since the last one. */
export interface BulkOriginAnswer {
  readonly port: number;
  readonly connections: number;
  readonly bytes: number;
}
