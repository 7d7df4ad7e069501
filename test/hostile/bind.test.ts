/** Who can reach the proxy at all. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { resolve } from "../../src/config/resolve.ts";
import { validate } from "../../src/config/validate.ts";
import { bindAll, listenPlan } from "../../src/listener/plan.ts";

const LOCAL_PORT = {
  name: "payments",
  hosts: ["pay.example"],
  upstream: { host: "127.0.0.1", port: 9 },
  local_port: 4999,
};

test("S1: a policy that says nothing listens on 127.0.0.1, with its local ports too", () => {
  const config = resolve({ version: 1, destinations: [LOCAL_PORT] });
  expect(config.listen.host).toBe("127.0.0.1");
  expect(listenPlan(config)).toHaveLength(2);
});

/** The addresses on which the kernel listens at `port`, as /proc/net/tcp writes them. */
function listeningAt(port: number): string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const LISTEN = "0A";
  return ["tcp", "tcp6"].flatMap((table) =>
    readFileSync(`/proc/net/${table}`, "latin1")
      .split("\n")
      .map((line) => line.trim().split(/\s+/))
      .filter(([, local, , state]) => state === LISTEN && local!.endsWith(suffix))
      .map(([, local]) => local!.slice(0, -suffix.length)),
  );
}

test.skipIf(process.platform !== "linux").each([
  ["127.0.0.1 unless the policy says otherwise", {}, ["0100007F"]],
  ["another address only by unsafe_bind", { unsafe_bind: "0.0.0.0" }, ["00000000"]],
])("S1: the kernel listens on %s", async (_what, listen, addresses) => {
  const bound = await bindAll(resolve({ version: 1, listen: { port: 0, ...listen } }));
  try {
    expect(listeningAt(bound[0]!.binding.port)).toEqual(addresses);
  } finally {
    await Promise.all(bound.map(({ binding }) => binding.close()));
  }
});

test.each(["host", "bind", "address"])("S1: listen.%s is no key of the policy file", (key) => {
  expect(validate({ version: 1, listen: { [key]: "0.0.0.0" } })).toMatchObject({ ok: false });
});

test.each(["0.0.0.0", "::", "10.0.0.1"])("S1: unsafe_bind: %s is allowed, with a warning", (address) => {
  const validated = validate({ version: 1, listen: { unsafe_bind: address } });
  expect(validated).toMatchObject({ ok: true });
  expect(validated.ok && validated.warnings.map(({ path }) => path.join("."))).toEqual([
    "listen.unsafe_bind",
  ]);
});
