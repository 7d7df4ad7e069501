/** A client that refuses the sandbox's certificate is told of once, and counted each time. */
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import type { TelemetryConfig } from "../../src/config/types.ts";
import { Lifecycle } from "../../src/lifecycle.ts";
import { REFUSED_HOSTS_MAX } from "../../src/telemetry/interception.ts";
import { createTelemetry } from "../../src/telemetry/telemetry.ts";
import { CONFIG, MemoryLog } from "./calls.ts";

async function aRoom(config: Partial<TelemetryConfig> = {}) {
  const clock = new VirtualClock(1000);
  const lifecycle = new Lifecycle(clock);
  lifecycle.ready();
  const log = new MemoryLog();
  const room = createTelemetry(
    { ...CONFIG, ...config },
    { clock, lifecycle, version: "0123456789ab", openLog: async () => log },
  );
  await room.start();
  return { room, log, lifecycle };
}

describe("interception that a client refuses", () => {
  test("is one line for each host, with the reason and the remedy", async () => {
    const { room, log, lifecycle } = await aRoom();
    lifecycle.workStarted("inv-1", Number.POSITIVE_INFINITY, "");
    room.interceptionRefused("pinned.example", "tlsv1 alert unknown ca");
    room.interceptionRefused("pinned.example", "tlsv1 alert unknown ca");
    room.interceptionRefused("other.example", "connection closed in the handshake");
    await room.flush(0);
    expect(log.lines.map(({ level }) => level)).toEqual(["warn", "warn"]);
    expect(log.of("interception_refused")).toEqual([
      {
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
        event: "interception_refused",
        invocation_id: "inv-1",
        host: "pinned.example",
        reason: "tlsv1 alert unknown ca",
        remedy: expect.stringContaining("set tls.intercept: false for this destination"),
        policy_version: "0123456789ab",
      },
      expect.objectContaining({ host: "other.example" }),
    ]);
  });

  test("is counted each time", async () => {
    const { room } = await aRoom();
    room.interceptionRefused("pinned.example", "x");
    room.interceptionRefused("pinned.example", "x");
    expect(room.metrics().interceptionRefusals).toBe(2);
    expect((await room.prometheus()).text).toContain("\noutrider_interception_refused_total 2\n");
  });

  test("is told of whatever the access log says, as long as there is a log", async () => {
    const summaries = await aRoom({ accessLog: "off" });
    summaries.room.interceptionRefused("pinned.example", "x");
    await summaries.room.flush(0);
    expect(summaries.log.of("interception_refused")).toHaveLength(1);
    const silent = await aRoom({ accessLog: "off", summary: false });
    silent.room.interceptionRefused("pinned.example", "x");
    await silent.room.flush(0);
    expect(silent.log.lines).toEqual([]);
    expect(silent.room.metrics()).toMatchObject({ interceptionRefusals: 1, droppedRecords: 0 });
  });

  test("by more hosts than are remembered is counted without a line", async () => {
    const { room, log } = await aRoom();
    for (let n = 0; n < REFUSED_HOSTS_MAX + 10; n++) room.interceptionRefused(`host-${n}.example`, "x");
    room.interceptionRefused("host-0.example", "x");
    while (log.lines.length < REFUSED_HOSTS_MAX) await room.flush(0);
    await room.flush(0);
    expect(log.of("interception_refused")).toHaveLength(REFUSED_HOSTS_MAX);
    expect(room.metrics().interceptionRefusals).toBe(REFUSED_HOSTS_MAX + 11);
  });

  test("keeps what an attacker chose bounded and free of secrets", async () => {
    const { room, log } = await aRoom();
    room.interceptionRefused(
      `user:secret@${"h".repeat(10_000)}`,
      `Authorization: Bearer ${"s".repeat(5000)}`,
    );
    await room.flush(0);
    const [line] = log.of("interception_refused");
    expect(JSON.stringify(line)).not.toMatch(/secret|sssss/);
    expect(JSON.stringify(line).length).toBeLessThan(2048);
  });
});
