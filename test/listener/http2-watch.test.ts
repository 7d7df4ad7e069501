import { beforeEach, describe, expect, test } from "vitest";
import { HeaderBlockWatch } from "../../src/listener/http2-watch.ts";

/** A session whose PINGs are answered when the test says so. */
class Pings {
  sent = 0;
  #answer: (() => void) | null = null;

  ping(answered: () => void): boolean {
    this.sent += 1;
    this.#answer = answered;
    return true;
  }

  answer(): void {
    this.#answer?.();
  }
}

let session: Pings;
let watch: HeaderBlockWatch;
let nowMs: number;
let bytes: number;
beforeEach(() => {
  session = new Pings();
  watch = new HeaderBlockWatch(
    session as unknown as ConstructorParameters<typeof HeaderBlockWatch>[0],
    10_000,
  );
  nowMs = 0;
  bytes = 0;
});

/** Looks once a second, `seconds` times; returns the second at which it was stuck, or `null`. */
function look(seconds: number, { moving }: { moving: boolean }): number | null {
  for (let second = 1; second <= seconds; second++) {
    nowMs += 1000;
    if (moving) bytes += 1;
    if (watch.stuck(bytes, nowMs)) return second;
  }
  return null;
}

describe("a header block that stays open", () => {
  test("is noticed when bytes keep coming and a PING stays unanswered for the timeout", () => {
    expect(look(60, { moving: true })).toBe(11);
    expect(session.sent).toBe(1);
  });

  test("is not suspected of a session that answers", () => {
    for (let second = 0; second < 120; second++) {
      expect(look(1, { moving: true })).toBeNull();
      session.answer();
    }
    // No more often than the timeout.
    expect(session.sent).toBe(12);
  });

  test("is not suspected of a session that is silent, however long", () => {
    look(1, { moving: true });
    expect(look(600, { moving: false })).toBeNull();
  });

  test("is not suspected for bytes that were on their way before a long silence", () => {
    look(2, { moving: true });
    expect(look(600, { moving: false })).toBeNull();
    expect(look(1, { moving: true })).toBeNull();
    session.answer();
    expect(look(5, { moving: true })).toBeNull();
  });

  test("costs an idle session no PING", () => {
    look(600, { moving: false });
    expect(session.sent).toBe(0);
  });
});
