/** What waits for the log, for how long, and what is lost. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { factsOf } from "../../src/telemetry/facts.ts";
import { Outlet, WAITING_RECORDS_MAX } from "../../src/telemetry/outlet.ts";
import { type CallRecord, recordOf } from "../../src/telemetry/record.ts";
import { InvocationTally } from "../../src/telemetry/summary.ts";
import { aRequest, aResponse, MemoryLog } from "./calls.ts";

const context = { invocationId: "i", destination: "d", route: "r", policyVersion: "v", wallMs: 0 };

function record(id: string): CallRecord {
  const request = aRequest({ id });
  return recordOf(request, factsOf(request, aResponse(), null, 1), context);
}

function summary() {
  return new InvocationTally().close(0, 0, "finished", "v");
}

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** Heap bytes that are reachable after `fill` and were not before. */
function bytesKept(fill: () => void): number {
  collectGarbage();
  const before = process.memoryUsage().heapUsed;
  fill();
  collectGarbage();
  return process.memoryUsage().heapUsed - before;
}

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("before there is a log", () => {
  test("100 000 records take the room of 2 048, and the newest are kept", async () => {
    const outlet = new Outlet(new VirtualClock());
    for (let n = 0; n < 100_000; n++) outlet.push(record(`c-${n}`));
    expect(outlet.losses).toBe(100_000 - WAITING_RECORDS_MAX);
    const log = new MemoryLog();
    outlet.useLog(log);
    await outlet.flush(1000);
    expect(log.lines).toHaveLength(WAITING_RECORDS_MAX);
    expect(log.lines[0]!.fields.call_id).toBe(`c-${100_000 - WAITING_RECORDS_MAX}`);
    expect(log.lines.at(-1)!.fields.call_id).toBe("c-99999");
  });

  test("a waiting record does not keep the head alive that its texts were cut from", () => {
    const headBytes = 30_000;
    const pathOf = (n: number) => {
      const head = Buffer.from(
        `GET /v1/charges/${n}/something HTTP/1.1\r\n${"x".repeat(headBytes)}`,
      ).latin1Slice();
      return head.slice(4, 40);
    };
    const slices: string[] = [];
    const heads = bytesKept(() => {
      for (let n = 0; n < 1000; n++) slices.push(pathOf(n));
    });
    expect(slices).toHaveLength(1000);
    expect(heads, "control: a slice keeps its head").toBeGreaterThan(1000 * headBytes * 0.9);
    const outlet = new Outlet(new VirtualClock());
    const records = bytesKept(() => {
      for (let n = 0; n < 1000; n++) {
        const request = aRequest({ id: `c-${n}`, path: pathOf(n) });
        outlet.push(recordOf(request, factsOf(request, aResponse(), null, 1), context));
      }
    });
    expect(outlet.losses).toBe(0);
    expect(records).toBeLessThan(1000 * headBytes * 0.1);
  });

  test("a flush does not wait for a log that nobody asked for", async () => {
    const outlet = new Outlet(new VirtualClock());
    outlet.push(record("c"));
    await outlet.flush(1000);
  });

  test("a flush waits for a log that is on its way", async () => {
    const clock = new VirtualClock();
    const outlet = new Outlet(clock);
    outlet.expectLog();
    outlet.push(record("c"));
    let done = false;
    void outlet.flush(1000).then(() => void (done = true));
    await clock.advance(999);
    expect(done).toBe(false);
    const log = new MemoryLog();
    outlet.useLog(log);
    await nextTurn();
    expect(done).toBe(true);
    expect(log.lines).toHaveLength(1);
  });
});

test("a log that can never be had costs each record, counted, and no flush any time", async () => {
  const outlet = new Outlet(new VirtualClock());
  outlet.expectLog();
  outlet.push(record("a"));
  outlet.useLog(null);
  outlet.push(record("b"));
  await outlet.flush(1000);
  expect(outlet.losses).toBe(2);
});

test("nothing is formatted in the turn in which a call ends", async () => {
  const outlet = new Outlet(new VirtualClock());
  const log = new MemoryLog();
  outlet.useLog(log);
  outlet.push(record("c"));
  expect(log.lines).toEqual([]);
  await nextTurn();
  expect(log.lines).toHaveLength(1);
});

test("a backlog is formatted in several turns, in order", async () => {
  const outlet = new Outlet(new VirtualClock());
  for (let n = 0; n < 200; n++) outlet.push(record(`c-${n}`));
  const log = new MemoryLog();
  outlet.useLog(log);
  const afterFirst = log.lines.length;
  expect(afterFirst).toBeGreaterThan(0);
  expect(afterFirst).toBeLessThan(200);
  await outlet.flush(1000);
  expect(log.lines.map((line) => line.fields.call_id)).toEqual(
    Array.from({ length: 200 }, (_, n) => `c-${n}`),
  );
});

describe("a log that never drains", () => {
  test("holds a flush for its cap and no longer", async () => {
    const clock = new VirtualClock();
    const outlet = new Outlet(clock);
    const log = new MemoryLog();
    log.stick();
    outlet.useLog(log);
    outlet.push(record("c"));
    let done = false;
    const flushed = outlet.flush(20).then(() => void (done = true));
    await clock.advance(19);
    expect(done).toBe(false);
    await clock.advance(1);
    await flushed;
    expect(log.lines).toEqual([]);
    expect(clock.untilNext()).toBeNull();
  });

  test("costs a bounded number of records however long it is stuck, and says so in the next summary", async () => {
    const outlet = new Outlet(new VirtualClock());
    const log = new MemoryLog();
    log.stick();
    outlet.useLog(log);
    for (let n = 0; n < 10_000; n++) outlet.push(record(`c-${n}`));
    await nextTurn();
    outlet.push(summary());
    log.unstick();
    await outlet.flush(1000);
    expect(log.of("call")).toHaveLength(WAITING_RECORDS_MAX - 1);
    expect(log.of("summary")).toMatchObject([{ dropped_records: 10_000 - WAITING_RECORDS_MAX + 1 }]);
    outlet.push(summary());
    await outlet.flush(1000);
    expect(log.of("summary")[1]).toMatchObject({ dropped_records: 0 });
  });

  test("does not lose the count of lost records when a summary is itself lost", async () => {
    const outlet = new Outlet(new VirtualClock());
    outlet.push(summary());
    for (let n = 0; n < WAITING_RECORDS_MAX; n++) outlet.push(record(`c-${n}`));
    const log = new MemoryLog();
    outlet.useLog(log);
    await outlet.flush(1000);
    expect(log.of("summary")).toEqual([]);
    outlet.push(summary());
    await outlet.flush(1000);
    expect(log.of("summary")).toMatchObject([{ dropped_records: 1 }]);
  });
});

test("a line that cannot be formatted is counted, and the next one is written", async () => {
  const outlet = new Outlet(new VirtualClock());
  const log = new MemoryLog();
  const write = log.write.bind(log);
  log.write = (level, fields) => {
    if ((fields as CallRecord).call_id === "bad") throw new Error("cannot");
    write(level, fields);
  };
  outlet.useLog(log);
  outlet.push(record("bad"));
  outlet.push(record("good"));
  await outlet.flush(1000);
  expect(log.lines.map((line) => line.fields.call_id)).toEqual(["good"]);
  expect(outlet.losses).toBe(1);
});
