import { describe, expect, test } from "vitest";
import type { CircuitBreakerOptions } from "../../src/config/types.ts";
import type { Verdict } from "../../src/policy/breaker-rules.ts";
import {
  admit,
  type Breaker,
  beginProbing,
  close,
  newBreaker,
  open,
  postpone,
  report,
  reportBroken,
  type Ticket,
} from "../../src/policy/breaker-state.ts";
import { breakerOptions } from "./breakers.ts";

/** A breaker, and the steps of attempts on it. */
function scene(changes: Partial<CircuitBreakerOptions> = {}) {
  const options = breakerOptions(changes);
  let breaker: Breaker = newBreaker(options);
  const scene = {
    timeMs: 0,
    get kind() {
      return breaker.state.kind;
    },
    get breaker() {
      return breaker;
    },
    /** What the next attempt meets. */
    admit: () => admit(breaker, options, scene.timeMs),
    begin(): Ticket {
      const admission = scene.admit();
      if (admission.kind !== "pass") throw new Error(`not let go: ${admission.kind}`);
      return admission.ticket;
    },
    end: (ticket: Ticket, verdict: Verdict, slow = false) =>
      report(breaker, options, ticket, { verdict, slow }, scene.timeMs),
    broken: (ticket: Ticket) => reportBroken(breaker, options, ticket, scene.timeMs),
    /** Whole attempts, one after the other; the last one's transition. */
    run: (...verdicts: Verdict[]) =>
      verdicts.map((verdict) => scene.end(scene.begin(), verdict)).at(-1) ?? null,
    tripped() {
      scene.run("failure", "failure", "failure");
      return scene;
    },
    probing() {
      scene.tripped();
      scene.timeMs += options.openForMs;
      beginProbing(breaker);
      return scene;
    },
    /** As another process would find it. */
    serialised() {
      breaker = JSON.parse(JSON.stringify(breaker));
      return scene;
    },
  };
  return scene;
}

describe("a closed breaker", () => {
  test("opens at as many failures in a row as the policy says", () => {
    const it = scene();
    expect(it.run("failure", "failure")).toBeNull();
    expect(it.kind).toBe("closed");
    expect(it.run("failure")).toEqual({ from: "closed", to: "open", why: "consecutive_failures" });
  });

  test("begins to count anew after a success", () => {
    const it = scene();
    it.run("failure", "failure", "success", "failure", "failure");
    expect(it.kind).toBe("closed");
  });

  test("is not moved either way by an attempt that says nothing", () => {
    const it = scene();
    it.run("failure", "nothing", "failure", "nothing");
    expect(it.kind).toBe("closed");
    it.run("failure");
    expect(it.kind).toBe("open");
  });

  test("opens by the part of failures in the window, whatever their order", () => {
    const it = scene({ consecutiveFailures: 0, errorRatio: 0.5 });
    it.run("success", "failure", "success");
    expect(it.run("failure")).toEqual({ from: "closed", to: "open", why: "error_ratio" });
  });

  test("forgets failures that have left the window", () => {
    const it = scene({ consecutiveFailures: 0, errorRatio: 0.5 });
    it.run("failure", "failure", "failure");
    it.timeMs = 10_000;
    it.run("success", "success", "success", "failure");
    expect(it.kind).toBe("closed");
  });

  test("opens by slow attempts, successes though they are", () => {
    const it = scene({ slowCallMs: 100, slowRatio: 0.75 });
    for (const slow of [true, false, true]) it.end(it.begin(), "success", slow);
    expect(it.end(it.begin(), "success", true)).toEqual({ from: "closed", to: "open", why: "slow_ratio" });
  });

  test("holds on to its state as plain data", () => {
    const it = scene();
    it.run("failure", "failure");
    it.serialised().run("failure");
    expect(it.serialised().kind).toBe("open");
  });
});

describe("a response that breaks off later", () => {
  test("counts as a failure, as if its success had not been", () => {
    const it = scene();
    it.run("failure", "failure");
    const ticket = it.begin();
    it.end(ticket, "success");
    expect(it.broken(ticket)).toEqual({ from: "closed", to: "open", why: "consecutive_failures" });
  });

  test("opens the breaker when it goes on like that, though every head is good", () => {
    const it = scene();
    for (let i = 0; i < 3; i++) {
      const ticket = it.begin();
      it.end(ticket, "success");
      it.broken(ticket);
    }
    expect(it.kind).toBe("open");
  });

  test("does not undo another success that came behind it", () => {
    const it = scene();
    it.run("failure", "failure");
    const ticket = it.begin();
    it.end(ticket, "success");
    it.run("success");
    expect(it.broken(ticket)).toBeNull();
  });

  test("makes its attempt a failed one in the window", () => {
    const it = scene({ consecutiveFailures: 0, errorRatio: 0.5 });
    it.run("success", "success", "failure");
    const ticket = it.begin();
    expect(it.end(ticket, "success")).toBeNull();
    expect(it.broken(ticket)).toEqual({ from: "closed", to: "open", why: "error_ratio" });
  });

  test("says nothing once the breaker has changed", () => {
    const it = scene();
    const ticket = it.begin();
    it.end(ticket, "success");
    it.tripped();
    expect(it.broken(ticket)).toBeNull();
  });
});

describe("an open breaker", () => {
  test("refuses, and says for how long", () => {
    const it = scene().tripped();
    expect(it.admit()).toEqual({ kind: "refused", leftMs: 10_000 });
    it.timeMs = 9999;
    expect(it.admit()).toEqual({ kind: "refused", leftMs: 1 });
  });

  test("may be probed when its time is over, and stays open until somebody does", () => {
    const it = scene().tripped();
    it.timeMs = 10_000;
    expect(it.admit()).toEqual({ kind: "due" });
    expect(it.admit()).toEqual({ kind: "due" });
    expect(beginProbing(it.breaker)).toEqual({ from: "open", to: "half_open", why: "open_for_over" });
  });

  test("is not moved by attempts that were let go before it opened", () => {
    const it = scene();
    const late = it.begin();
    it.tripped();
    expect(it.end(late, "success")).toBeNull();
    expect(it.kind).toBe("open");
  });

  test("can be told to wait a little longer", () => {
    const it = scene().tripped();
    it.timeMs = 10_000;
    postpone(it.breaker, 11_000);
    expect(it.admit()).toEqual({ kind: "refused", leftMs: 1000 });
  });
});

describe("a half-open breaker", () => {
  test("lets one probe go, and refuses what comes beside it", () => {
    const it = scene().probing();
    it.begin();
    expect(it.admit()).toEqual({ kind: "refused", leftMs: 0 });
  });

  test("closes by its success, and begins to count from nothing", () => {
    const it = scene().probing();
    expect(it.run("success")).toEqual({ from: "half_open", to: "closed", why: "probes_succeeded" });
    it.run("failure", "failure");
    expect(it.kind).toBe("closed");
  });

  test("opens for the whole time again by its failure", () => {
    const it = scene().probing();
    expect(it.run("failure")).toEqual({ from: "half_open", to: "open", why: "probe_failed" });
    expect(it.admit()).toEqual({ kind: "refused", leftMs: 10_000 });
  });

  test("opens again by a probe that is slow, where slowness counts", () => {
    const it = scene({ slowCallMs: 100, slowRatio: 0.5 }).probing();
    expect(it.end(it.begin(), "success", true)).toEqual({ from: "half_open", to: "open", why: "probe_slow" });
  });

  test("gives the probe to the next attempt when one says nothing", () => {
    const it = scene().probing();
    expect(it.run("nothing")).toBeNull();
    expect(it.kind).toBe("half_open");
    expect(it.run("success")).toMatchObject({ to: "closed" });
  });

  test("with three probes has three in flight at most, and closes by three successes", () => {
    const it = scene({ halfOpenProbes: 3 }).probing();
    const probes = [it.begin(), it.begin(), it.begin()];
    expect(it.admit().kind).toBe("refused");
    expect(it.end(probes[0]!, "success")).toBeNull();
    expect(it.admit().kind).toBe("refused");
    expect(it.end(probes[1]!, "success")).toBeNull();
    expect(it.end(probes[2]!, "success")).toMatchObject({ to: "closed" });
  });

  test("with three probes is opened by one failure, and the others' successes change nothing", () => {
    const it = scene({ halfOpenProbes: 3 }).probing();
    const probes = [it.begin(), it.begin()];
    it.end(probes[0]!, "failure");
    expect(it.end(probes[1]!, "success")).toBeNull();
    expect(it.kind).toBe("open");
  });

  test("is not closed by an attempt from before it opened", () => {
    const it = scene();
    const late = it.begin();
    it.probing();
    expect(it.end(late, "success")).toBeNull();
    expect(it.kind).toBe("half_open");
  });
});

describe("an isolated breaker", () => {
  test("refuses without an end in sight, and nothing moves it", () => {
    const it = scene({ isolated: true });
    expect(it.admit()).toEqual({ kind: "refused", leftMs: Number.POSITIVE_INFINITY });
    it.timeMs = 1e9;
    expect(it.admit().kind).toBe("refused");
    expect([open(it.breaker, 0, "x"), close(it.breaker, "x"), beginProbing(it.breaker)]).toEqual([
      null,
      null,
      null,
    ]);
    expect(it.kind).toBe("isolated");
  });
});
