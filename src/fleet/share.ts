/**
 * What a sandbox holds of a rate that it shares with others: a plain state and pure steps. Time is handed in.
 *
 * The store keeps one bucket for all. A sandbox fetches tokens ahead, as many as it lately used in the time of two questions, and with
 * them a credit: its part of what is left in the bucket, which it may spend before it asks again and pays for with its next
 * question. So no call waits for the store, and all together spend what flows in.
 *
 * Without word from the store there is no credit. Calls then pass by a bucket of this sandbox's own, `open`, or not at all, `closed`. What
 * passed before the first word, or after a long sleep, is paid for like credit; what passes while the store fails is not.
 */
import type { Clock } from "../clock.ts";
import {
  type Flow,
  newTokenBucket,
  type TokenBucket,
  takeToken,
  untilTokensMs,
} from "../policy/token-bucket.ts";

/** Between two questions at least. */
export const ASK_MS_MIN = 100;

/**
 * For each sandbox that shares the rate, if that is more: all together ask a thousand times a second at most, of the 18 000 that Redis 7
 * answers on one core of the machine in bench/RESULTS.md.
 */
const ASK_MS_PER_MEMBER = 1;

/** No longer than this, however many they are. */
const ASK_MS_MAX = 5000;

/** Part of it that is added at random: in step with one another, the first would always find the most. */
export const ASK_JITTER = 0.4;

/** How far ahead tokens are fetched, in questions: one may be lost or late. */
const HORIZON_ASKS = 2;

/** The least of that time. */
export const HORIZON_MS_MIN = HORIZON_ASKS * ASK_MS_MIN;

/** When calls in line look again for the answer to a question that is on its way. */
const ANSWER_MS = 2;

/** Tokens that were not used for so long are handed back, but for one. */
const SURPLUS_MS = 1000;

/** Word from the store that is older, by the clock that moved further, is none: the sandbox slept, or is alone. */
export const LEASE_MS = 60_000;

/** Sandboxes that are taken to begin at once, until the store has said how many there are. */
const MEMBERS_UNTOLD = 10;

/** A longer pause is no measure of what the sandbox was granted for it. */
const MEASURED_MS_MAX = 10_000;

/** Measurements over so long make half of their mean. Demand is followed at once, grants are smoothed. */
const DEMAND_MS = 300;
const GRANT_MS = 1000;

/** Of what was granted of late, for the time without word. */
const HEADROOM = 1.25;

/** The state. */
export interface Share {
  /** Fetched, whole. */
  tokens: number;
  /** May be spent unfetched. */
  credit: number;
  /** Spent unfetched, to be paid with the next question. */
  owed: number;
  /** Calls since the last question, those that found no token included. */
  asked: number;
  /** Means, per second. */
  demandPerSecond: number;
  grantedPerSecond: number;
  /** Sandboxes that share the rate, as far as the store knew; at least 1. */
  members: number;
  /** The last question: readings of both clocks, -Infinity for none. */
  askedNowMs: number;
  askedWallMs: number;
  /** From then on until it may ask again. */
  spacingMs: number;
  asking: boolean;
  /** Between the last question and the one before, as far as that is a measure. */
  measuredMs: number;
  /** The last good answer; -Infinity for none. */
  answeredNowMs: number;
  answeredWallMs: number;
  /** The last question failed. */
  failed: boolean;
  /** For the time without word. */
  own: TokenBucket;
  ownFlow: Flow;
}

/** What the store said. */
export interface Grant {
  readonly tokens: number;
  readonly credit: number;
  readonly members: number;
}

/** A sandbox that has not asked yet. It may let a part of the burst pass, not all of it, because others may begin with it. */
export function newShare(limit: Flow, clock: Clock): Share {
  return {
    tokens: 0,
    credit: 0,
    owed: 0,
    asked: 0,
    demandPerSecond: 0,
    grantedPerSecond: 0,
    members: 1,
    askedNowMs: Number.NEGATIVE_INFINITY,
    askedWallMs: Number.NEGATIVE_INFINITY,
    spacingMs: ASK_MS_MIN,
    asking: false,
    measuredMs: ASK_MS_MIN,
    answeredNowMs: Number.NEGATIVE_INFINITY,
    answeredWallMs: Number.NEGATIVE_INFINITY,
    failed: false,
    own: { ...newTokenBucket(limit, clock), tokens: Math.max(1, limit.burst / MEMBERS_UNTOLD) },
    ownFlow: limit,
  };
}

/** Whether the store's last word still counts. */
export function hasWord(share: Share, clock: Clock): boolean {
  return !share.failed && ageMs(share, clock) < LEASE_MS;
}

function ageMs(share: Share, clock: Clock): number {
  return Math.max(clock.now() - share.answeredNowMs, clock.wall() - share.answeredWallMs);
}

/** Milliseconds since the last question, by the clock that moved further; Infinity for none. */
export function sinceAskedMs(share: Share, clock: Clock): number {
  return Math.max(clock.now() - share.askedNowMs, clock.wall() - share.askedWallMs);
}

/** Takes a token, fetched or on credit; `open`: or from the sandbox's own bucket while there is no word. */
export function takeShared(share: Share, open: boolean, clock: Clock): boolean {
  expire(share, clock);
  if (share.tokens >= 1) {
    share.tokens -= 1;
    return true;
  }
  if (hasWord(share, clock)) {
    if (share.credit < 1) return false;
    share.credit -= 1;
  } else if (!open || !takeToken(share.own, share.ownFlow, clock)) {
    return false;
  }
  // What passes while the store is away is this sandbox's own part of the rate, and paid with that.
  if (!share.failed) share.owed += 1;
  return true;
}

/** What was leased before a freeze, or longer ago, is others' now. */
function expire(share: Share, clock: Clock): void {
  if (share.answeredNowMs === Number.NEGATIVE_INFINITY || ageMs(share, clock) < LEASE_MS) return;
  share.answeredNowMs = Number.NEGATIVE_INFINITY;
  share.answeredWallMs = Number.NEGATIVE_INFINITY;
  share.tokens = 0;
  share.credit = 0;
  share.own = newTokenBucket(share.ownFlow, clock);
}

/** What to ask the store for now; `null`: nothing yet. `waiting`: calls in line. */
export function questionFor(share: Share, limit: Flow, waiting: number, clock: Clock): Question | null {
  expire(share, clock);
  const sinceMs = sinceAskedMs(share, clock);
  if (share.asking || sinceMs < share.spacingMs) return null;
  // What is sure of the newest demand: two calls in a row are no stream.
  const surely = Math.max(0, share.asked - Math.sqrt(share.asked));
  const perSecond = Math.max(share.demandPerSecond, (surely * 1000) / sinceMs);
  const target = Math.min(
    capacityOf(limit),
    Math.max(1, waiting, stockFor(perSecond, HORIZON_ASKS * pauseMs(share))),
  );
  const surplus = ageMs(share, clock) > SURPLUS_MS ? Math.max(0, share.tokens - target) : 0;
  const want = Math.max(0, target - share.tokens);
  // While more than half of it is there, it is early enough to ask later.
  if (share.owed === 0 && surplus === 0 && want * 2 <= target && share.tokens >= 1) return null;
  return { want, surplus, owed: share.owed };
}

/** Tokens that calls at random moments use in `ms`, but for one time in fifty (two standard deviations of Poisson's law). */
function stockFor(perSecond: number, ms: number): number {
  const expected = (perSecond * ms) / 1000;
  return Math.ceil(expected + 2 * Math.sqrt(expected));
}

/** Between two questions, without the part that is drawn. */
function pauseMs({ members }: Share): number {
  return Math.min(ASK_MS_MAX, Math.max(ASK_MS_MIN, members * ASK_MS_PER_MEMBER));
}

/** A question to the store. */
export interface Question {
  /** Tokens to fetch. */
  readonly want: number;
  /** Tokens to hand back. */
  readonly surplus: number;
  /** Tokens to pay for. */
  readonly owed: number;
}

/** The question is on its way. `drawn`: 0..1, how much later than it could the next one comes. */
export function asking(share: Share, question: Question, drawn: number, clock: Clock): void {
  const sinceMs = Math.max(sinceAskedMs(share, clock), ASK_MS_MIN);
  share.measuredMs = Math.min(sinceMs, MEASURED_MS_MAX);
  // Divided by Infinity it is nothing: a first question has measured nothing.
  share.demandPerSecond = mean(
    share.demandPerSecond,
    (share.asked * 1000) / sinceMs,
    share.measuredMs,
    DEMAND_MS,
  );
  share.asked = 0;
  share.asking = true;
  share.askedNowMs = clock.now();
  share.askedWallMs = clock.wall();
  share.spacingMs = pauseMs(share) * (1 + drawn * ASK_JITTER);
  share.tokens -= question.surplus;
  share.owed -= question.owed;
}

/** The store has answered. */
export function granted(share: Share, grant: Grant, limit: Flow, clock: Clock): void {
  share.asking = false;
  share.failed = false;
  share.answeredNowMs = clock.now();
  share.answeredWallMs = clock.wall();
  share.tokens += grant.tokens;
  share.credit = grant.credit;
  share.members = Math.max(1, grant.members);
  const newest = (grant.tokens * 1000) / share.measuredMs;
  share.grantedPerSecond = mean(share.grantedPerSecond, newest, share.measuredMs, GRANT_MS);
  share.ownFlow = flowWithoutWord(share, limit);
  share.own = { ...newTokenBucket(share.ownFlow, clock), tokens: Math.max(1, grant.credit) };
}

/** There was no answer. What was to be paid is still owed. What was handed back is lost, which errs on the safe side. */
export function unanswered(share: Share, question: Question): void {
  share.asking = false;
  share.failed = true;
  share.credit = 0;
  share.owed += question.owed;
}

/**
 * The rate while there is no word: what the sandbox was granted of late and something more, because calls come unevenly, or an equal part,
 * whichever is more. When all are busy these are the same and together little over the limit; the worst is 2.25 times the limit, when
 * one was busy before and the others are then.
 */
function flowWithoutWord({ grantedPerSecond, members }: Share, { perSecond, burst }: Flow): Flow {
  const own = Math.min(perSecond, Math.max(grantedPerSecond * HEADROOM, perSecond / members));
  // Not less than the store would hand out at once.
  return { perSecond: own, burst: Math.max(1, burst / members, (own * HORIZON_MS_MIN) / 1000) };
}

/** Milliseconds until there will be `count` tokens, as far as can be said; Infinity for never. */
export function untilSharedMs(share: Share, open: boolean, count: number, clock: Clock): number {
  if (share.tokens >= count) return 0;
  const untilAskMs = share.asking ? ANSWER_MS : Math.max(0, share.spacingMs - sinceAskedMs(share, clock));
  if (!hasWord(share, clock)) {
    if (open) return untilTokensMs(share.own, share.ownFlow, count, clock);
    return untilAskMs;
  }
  const missing = count - share.tokens - 1;
  return Math.max(1, untilAskMs) + (Math.max(0, missing) * 1000) / share.ownFlow.perSecond;
}

/** Tokens that the store keeps at most: the burst, and enough to serve everybody's next question. */
export function capacityOf({ perSecond, burst }: Flow): number {
  return Math.max(burst, (perSecond * HORIZON_MS_MIN) / 1000, 1);
}

/** A mean of rates in which a measurement counts for more the longer it took. */
function mean(soFar: number, newest: number, overMs: number, halfMs: number): number {
  return soFar + (newest - soFar) * (overMs / (overMs + halfMs));
}
