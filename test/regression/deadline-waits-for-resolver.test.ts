/**
 * A call that was over (deadline, per-try timeout) while its name was being looked up was answered only when the look-up ended, up to
 * `dns_timeout` past its deadline, and then with DNS_TIMEOUT.
 */
import { expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { passUntil } from "../kit/eventually.ts";
import { field } from "../kit/message.ts";
import { startProxy } from "../kit/proxy.ts";

test.each([
  ["timeout", "DEADLINE_EXCEEDED"],
  ["per_try_timeout", "PER_TRY_TIMEOUT"],
])("%s ends a call whose name nobody resolves, at its time", async (key, code) => {
  const clock = new VirtualClock();
  const asked = Promise.withResolvers<void>();
  const lookup = () => {
    asked.resolve();
    return new Promise<never>(() => {});
  };
  await using proxy = await startProxy({
    clock,
    lookup,
    policy: { defaults: { [key]: "300ms", dns_timeout: "5s" } },
  });
  using client = await proxy.client();
  await client.write("GET http://slow.test/ HTTP/1.1\r\nHost: slow.test\r\n\r\n");
  await asked.promise;
  const { value, elapsedMs } = await passUntil(clock, client.response(), { stepMs: 100 });
  expect([value.status, field(value, "outrider-error")]).toEqual([504, code]);
  expect(elapsedMs).toBeGreaterThanOrEqual(300);
  expect(elapsedMs).toBeLessThan(5000);
});
