/**
 * Our reading of a generated message beside Node's: what Node refuses we must not accept, and what both accept both must understand
 * the same. Being stricter than Node is no difference.
 */
import { readRequests, readResponses } from "../kit/codec.ts";
import { type Dice, diceOf, generateRequest, generateResponse } from "./generate.ts";
import { NodeRequests, readNodeResponse } from "./node-parser.ts";

/** What was found at a seed: enough to try again. */
export interface Difference {
  readonly seed: number;
  readonly stream: string;
  readonly why: string;
}

/** How many messages were compared, and how many of them both sides accepted: else agreement would mean nothing. */
export interface Comparison {
  readonly compared: number;
  readonly accepted: number;
  readonly differences: readonly Difference[];
}

/** Differences that are right, by the bytes that cause them, and why. */
const ALLOWED: readonly { readonly why: string; readonly applies: (stream: string) => boolean }[] = [
  {
    why: "Node obeys a Connection field in a trailer section; RFC 9110 §6.5.1 forbids it there, and we drop it",
    applies: (stream) => /\r\n0+(?:;[^\r\n]*)?\r\n(?:[^\r\n]+\r\n)*?Connection:[^\r\n]*close/i.test(stream),
  },
  {
    why: "Node lets HTTP/1.0 upgrade and stops reading HTTP; RFC 9110 §7.8 has the field ignored there, and so do we",
    applies: (stream) => /^[^\r\n]* HTTP\/1\.0\r\n/m.test(stream) && /\r\nUpgrade:/i.test(stream),
  },
];

const nodeRequests = new NodeRequests();

/** Compares requests of the seeds from `from` on, `count` of them. */
export function compareRequests(from: number, count: number): Promise<Comparison> {
  return compare(from, count, async (dice) => {
    const stream = generateRequest(dice);
    const ours = readRequests(stream, { capture: true });
    const pieces = readRequests(stream, { pieceBytes: 1 + dice.roll(20), capture: true });
    const theirs = await nodeRequests.read(stream);
    const why =
      firstDifference(ours.messages, theirs) ??
      firstDifference(pieces.messages, ours.messages) ??
      ((pieces.problem === null) === (ours.problem === null) ? null : `in pieces: ${pieces.problem}`);
    return { stream, accepted: ours.messages.length > 0, why };
  });
}

/** The same for responses to GET and HEAD. */
export function compareResponses(from: number, count: number): Promise<Comparison> {
  return compare(from, count, async (dice) => {
    const method = dice.pick(["GET", "GET", "GET", "HEAD"]);
    const stream = generateResponse(dice);
    const ours = readResponses(stream, { method, ends: true });
    const final = ours.messages.find(({ start }) => Number(start) >= 200 || start === "101");
    if (final === undefined) return { stream, accepted: false, why: null };
    // What comes behind the response is no part of it: we deliver it and end the connection, Node reports an error instead.
    const theirs = await readNodeResponse(stream.slice(0, stream.length - ours.rest.length), method);
    return { stream, accepted: true, why: firstDifference([final], theirs === null ? [] : [theirs]) };
  });
}

interface Case {
  readonly stream: string;
  readonly accepted: boolean;
  readonly why: string | null;
}

async function compare(from: number, count: number, one: (dice: Dice) => Promise<Case>): Promise<Comparison> {
  const differences: Difference[] = [];
  let accepted = 0;
  for (let seed = from; seed < from + count; seed++) {
    const { stream, why, ...found } = await one(diceOf(seed));
    if (found.accepted) accepted += 1;
    if (why !== null && !ALLOWED.some(({ applies }) => applies(stream)))
      differences.push({ seed, stream, why });
  }
  return { compared: count, accepted, differences };
}

interface Understood {
  readonly start: string;
  readonly body: string;
}

/** Why `ours` is no beginning of `theirs`, or `null`. */
function firstDifference(ours: readonly Understood[], theirs: readonly Understood[]): string | null {
  for (const [index, mine] of ours.entries()) {
    const other = theirs[index];
    if (other === undefined) return `accepted, and refused by the other: ${JSON.stringify(mine.start)}`;
    if (mine.start !== other.start || mine.body !== other.body) {
      return `${JSON.stringify([mine.start, mine.body])} is for the other ${JSON.stringify([other.start, other.body])}`;
    }
  }
  return null;
}
