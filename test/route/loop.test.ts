import { describe, expect, test } from "vitest";
import { LoopGuard } from "../../src/route/loop.ts";

describe("the mark of a call", () => {
  test.each([
    "127.0.0.1",
    "::1",
    "::ffff:127.0.0.1",
    "0.0.0.0",
    "10.1.2.3",
    "192.168.0.9",
    "100.64.0.1",
    "fd12::1",
  ])("is there for %s", (address) => {
    expect(new LoopGuard().markFor(address)).toMatch(/^Outrider-Instance: [0-9a-f]{32}\r\n$/);
  });

  test.each(["8.8.8.8", "2606:4700::1111", "169.254.169.254", "", "no address"])(
    "is not there for %j",
    (address) => {
      expect(new LoopGuard().markFor(address)).toBe("");
    },
  );

  test("is one for each process, and another for another", () => {
    const [one, other] = [new LoopGuard(), new LoopGuard()];
    expect(one.markFor("127.0.0.1")).toBe(one.markFor("10.0.0.1"));
    expect(one.markFor("127.0.0.1")).not.toBe(other.markFor("127.0.0.1"));
  });

  test("is known when it comes back, however it is written", () => {
    const guard = new LoopGuard();
    const mark = guard.markFor("127.0.0.1");
    const id = mark.slice(mark.indexOf(":") + 2, -2);
    expect(guard.hasPassed(`A: b\r\n${mark}C: d\r\n`)).toBe(true);
    expect(guard.hasPassed(`outrider-instance:${id}\r\n`)).toBe(true);
    expect(guard.hasPassed(`Outrider-Instance: ${"0".repeat(32)}, ${id}\r\n`)).toBe(true);
    expect(guard.hasPassed("A: b\r\n")).toBe(false);
    expect(guard.hasPassed(new LoopGuard().markFor("127.0.0.1"))).toBe(false);
  });

  test("is not looked for where none was made", () => {
    expect(new LoopGuard().hasPassed("Outrider-Instance: \r\n")).toBe(false);
  });
});
