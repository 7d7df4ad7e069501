/** The one step of the store in which tokens of a shared rate change hands: what is in the bucket, who gets how much of it. */
import type { Flow } from "../policy/token-bucket.ts";
import type { Reply } from "./resp.ts";
import { capacityOf, type Grant, HORIZON_MS_MIN, LEASE_MS, type Question } from "./share.ts";
import type { Store } from "./store.ts";

/** A sandbox that got less than it asked for competes for so long, or for so long for each that shares the rate: until it asks again. */
const CONTEND_MS_MIN = 300;
const CONTEND_MS_PER_MEMBER = 3;

/** Sandboxes that asked within this are active: the credit is divided among them. */
const ACTIVE_MS = 10_000;

/**
 * Runs inside the store, so that nobody else comes between (EVAL, redis.io). Three keys with one hash tag: the bucket as a hash, who was
 * refused a part of late, who there is. Time is the store's own (TIME), because sandboxes' clocks differ; a script may write behind TIME
 * since Redis 5, which replicates effects.
 *
 * Fair: whoever gets less than it asks for competes, and takes at most an equal part of what there is; as what there is grows by what the
 * modest leave, nothing is left unused. With less than one token for each, who comes first has it.
 *
 * A bucket that is not there was full and forgotten, or the store has lost it; a sandbox that had an answer of late (`seen`) knows that
 * it is the second, and begins with what everybody asks for at once.
 */
const SCRIPT = `
local rate, capacity, want, back = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local member, seen, now = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local kept = math.ceil(2000 * capacity / rate) + ${LEASE_MS}
local state = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(state[1]), tonumber(state[2])
if not tokens then
  tokens, at = capacity, now
  if seen >= 0 and seen < kept then tokens = math.min(capacity, rate * ${HORIZON_MS_MIN} / 1000) end
end
tokens = tokens + math.max(0, now - at) * rate / 1000
tokens = math.max(-capacity, math.min(capacity, tokens + back))
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - ${LEASE_MS})
redis.call('ZADD', KEYS[3], now, member)
local members = redis.call('ZCARD', KEYS[3])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - math.max(${CONTEND_MS_MIN}, ${CONTEND_MS_PER_MEMBER} * members))
redis.call('ZREM', KEYS[2], member)
local fair = math.max(1, tokens / (redis.call('ZCARD', KEYS[2]) + 1))
local grant = math.max(0, math.floor(math.min(want, fair, tokens)))
tokens = tokens - grant
local credit = 0
if grant < want then
  redis.call('ZADD', KEYS[2], now, member)
else
  credit = math.max(0, math.floor(tokens / redis.call('ZCOUNT', KEYS[3], now - ${ACTIVE_MS}, '+inf')))
end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', string.format('%d', math.max(now, at)))
redis.call('PEXPIRE', KEYS[1], kept)
redis.call('PEXPIRE', KEYS[2], ${LEASE_MS})
redis.call('PEXPIRE', KEYS[3], ${LEASE_MS * 2})
return { grant, credit, members }
`;

/** Who asks for tokens of which bucket. */
export interface Asker {
  /** Names the bucket in the store. */
  readonly key: string;
  /** Names this sandbox among those that share it. */
  readonly member: string;
  /** Milliseconds since its last good answer; -1 for none. */
  readonly seenMs: number;
}

/**
 * Asks `store`.
 * @param storeMs the time in the store, for tests; 0: its own
 * @throws StoreError, StoreRefusal
 */
export async function fetchTokens(
  store: Store,
  limit: Flow,
  { want, surplus, owed }: Question,
  { key, member, seenMs }: Asker,
  storeMs: number,
): Promise<Grant> {
  const keys = ["tokens", "contend", "members"].map((part) => `{${key}}:${part}`);
  const bounds = [limit.perSecond, capacityOf(limit), want, surplus - owed];
  const reply = await store.command(
    "EVAL",
    SCRIPT,
    keys.length,
    ...keys,
    ...bounds,
    member,
    Math.round(seenMs),
    Math.round(storeMs),
  );
  return grantIn(reply);
}

function grantIn(reply: Reply): Grant {
  const [tokens, credit, members] = Array.isArray(reply) ? (reply as readonly Reply[]) : [];
  if (typeof tokens !== "number" || typeof credit !== "number" || typeof members !== "number") {
    throw new Error("the store's answer to the tokens script is not three numbers");
  }
  return { tokens, credit, members };
}
