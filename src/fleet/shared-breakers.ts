/**
 * What sandboxes tell one another about upstreams that fail: the last transition of each breaker, and who probes. Kept in the store; read
 * from memory, which is looked after when it is a second old and asked for.
 */
import type { Clock } from "../clock.ts";
import type { BreakerStore, BreakerTransition } from "../policy/breaker-store.ts";
import type { Store } from "./store.ts";

/** Memory that is younger is good enough. */
const LOOK_MS_MIN = 1000;

/** Breakers that are remembered. Overflow: the one that was not asked for the longest is forgotten. */
const KEYS_MAX = 1000;

/** Breakers that one look asks about; the rest waits for the next. */
const LOOK_KEYS_MAX = 64;

/** How long a prober has. When it is gone by then, another is elected. */
const PROBE_MS = 5000;

/** How long a transition is kept beyond its own time, for those that sleep. */
const KEPT_MS = 600_000;

/**
 * SET unless the store has later word; an election is over with any transition. KEYS: transition, prober. ARGV: JSON, its time, PX. Returns 1
 * when it was written.
 */
const ANNOUNCE = `
local known = redis.call('HGET', KEYS[1], 'at')
if known and tonumber(known) > tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'at', ARGV[2], 'json', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('DEL', KEYS[2])
return 1
`;

/** SET NX PX, which one sandbox wins; who has won may ask again. KEYS: prober. ARGV: member, PX. */
const ELECT = `
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
if redis.call('GET', KEYS[1]) == ARGV[1] then return 1 end
return 0
`;

/** Reads many at once: a look is one command. KEYS: transitions. */
const LOOK = `
local found = {}
for i, key in ipairs(KEYS) do found[i] = redis.call('HGET', key, 'json') end
return found
`;

interface Known {
  transition: BreakerTransition | null;
  lookedNowMs: number;
  lookedWallMs: number;
}

/** What it works with. */
export interface BreakerSurroundings {
  readonly store: Store;
  readonly clock: Clock;
  readonly onFailure: "open" | "closed";
  /** How all keys begin. */
  readonly prefix: string;
  /** Names this sandbox. */
  member(): string;
}

/** See the file's header. */
export class SharedBreakers implements BreakerStore {
  readonly #surroundings: BreakerSurroundings;
  /** In the order in which they were last asked for. */
  readonly #known = new Map<string, Known>();
  #looking = false;

  constructor(surroundings: BreakerSurroundings) {
    this.#surroundings = surroundings;
  }

  load(key: string): BreakerTransition | null {
    const known = this.#entry(key);
    if (this.#isOld(known)) this.#look();
    return known.transition;
  }

  announce(transition: BreakerTransition): void {
    const { store, clock } = this.#surroundings;
    const known = this.#entry(transition.key);
    known.transition = transition;
    const keptMs = Math.max(0, transition.untilWallMs - clock.wall()) + KEPT_MS;
    const [at, prober] = this.#keysOf(transition.key);
    // What does not arrive is told by the next transition; meanwhile each sandbox judges by what it sees itself.
    store
      .command(
        "EVAL",
        ANNOUNCE,
        2,
        at,
        prober,
        JSON.stringify(transition),
        transition.atWallMs,
        Math.ceil(keptMs),
      )
      .catch(() => {});
  }

  async elect(key: string): Promise<boolean> {
    const { store, member, onFailure } = this.#surroundings;
    try {
      return (await store.command("EVAL", ELECT, 1, this.#keysOf(key)[1], member(), PROBE_MS)) === 1;
    } catch {
      return onFailure === "open";
    }
  }

  /** Looks at once: the sandbox slept. */
  refresh(): void {
    if (this.#known.size === 0) return;
    for (const known of this.#known.values()) known.lookedNowMs = Number.NEGATIVE_INFINITY;
    this.#look();
  }

  #entry(key: string): Known {
    const known = this.#known.get(key) ?? {
      transition: null,
      lookedNowMs: Number.NEGATIVE_INFINITY,
      lookedWallMs: Number.NEGATIVE_INFINITY,
    };
    if (this.#known.size > 1) this.#known.delete(key);
    if (this.#known.size >= KEYS_MAX) this.#known.delete(this.#known.keys().next().value!);
    this.#known.set(key, known);
    return known;
  }

  #isOld({ lookedNowMs, lookedWallMs }: Known): boolean {
    const { clock } = this.#surroundings;
    return Math.max(clock.now() - lookedNowMs, clock.wall() - lookedWallMs) >= LOOK_MS_MIN;
  }

  #keysOf(key: string): [transition: string, prober: string] {
    const { prefix } = this.#surroundings;
    return [`${prefix}{breaker:${key}}:last`, `${prefix}{breaker:${key}}:prober`];
  }

  /** Asks about those that are old, behind the call that wants to know; one look at a time. */
  #look(): void {
    if (this.#looking) return;
    this.#looking = true;
    setImmediate(async () => {
      const { store, clock } = this.#surroundings;
      const old = [...this.#known].filter(([, known]) => this.#isOld(known)).slice(-LOOK_KEYS_MAX);
      for (const [, known] of old) {
        // Before the answer, so that a store that is away is asked no more often.
        known.lookedNowMs = clock.now();
        known.lookedWallMs = clock.wall();
      }
      try {
        const keys = old.map(([key]) => this.#keysOf(key)[0]);
        const replies = old.length === 0 ? [] : await store.command("EVAL", LOOK, keys.length, ...keys);
        if (!Array.isArray(replies)) return;
        for (const [at, [key, known]] of old.entries()) learn(known, key, replies[at]);
      } catch {
        // The memory stands: an open breaker in it ends by its own time.
      } finally {
        this.#looking = false;
      }
    });
  }
}

/** Takes over what the store says, unless this sandbox has said something later. */
function learn(known: Known, key: string, reply: unknown): void {
  const heard = transitionIn(reply);
  if (heard === null || heard.key !== key) return;
  if (known.transition === null || heard.atWallMs > known.transition.atWallMs) known.transition = heard;
}

/** A transition out of the store, which others can write to; `null` for anything else. */
export function transitionIn(text: unknown): BreakerTransition | null {
  if (typeof text !== "string") return null;
  try {
    const { key, to, why, atWallMs, untilWallMs } = JSON.parse(text) as Record<string, unknown>;
    if (typeof key !== "string" || typeof why !== "string" || (to !== "open" && to !== "closed")) return null;
    if (!Number.isFinite(atWallMs) || !Number.isFinite(untilWallMs)) return null;
    return { key, to, why, atWallMs: atWallMs as number, untilWallMs: untilWallMs as number };
  } catch {
    return null;
  }
}
