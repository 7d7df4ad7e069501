/** Who can reach the proxy at all. */
import { connect } from "node:net";
import { networkInterfaces } from "node:os";
import { expect, test } from "vitest";
import { resolve } from "../../src/config/resolve.ts";
import { validate } from "../../src/config/validate.ts";
import { bindAll, listenPlan } from "../../src/listener/plan.ts";

/** Addresses of this machine that are not loopback. */
const outside = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .filter(({ internal, family, scopeid }) => !internal && (family === "IPv4" || scopeid === 0))
  .map(({ address }) => address);

/** How a connection attempt ends. */
function attempt(host: string, port: number): Promise<"connected" | "refused"> {
  return new Promise((settle) => {
    const socket = connect({ host, port });
    socket.once("connect", () => {
      socket.destroy();
      settle("connected");
    });
    socket.once("error", () => settle("refused"));
  });
}

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

test("S1: what is bound by default is reached over loopback and over no other address", async () => {
  const bound = await bindAll(resolve({ version: 1, listen: { port: 0 } }));
  const { port } = bound[0]!.binding;
  try {
    expect(await attempt("127.0.0.1", port)).toBe("connected");
    for (const address of outside)
      expect([address, await attempt(address, port)]).toEqual([address, "refused"]);
  } finally {
    await Promise.all(bound.map(({ binding }) => binding.close()));
  }
});

test.skipIf(outside.length === 0)(
  "S1: only unsafe_bind opens other addresses (skipped on a machine that has only loopback)",
  async () => {
    const bound = await bindAll(resolve({ version: 1, listen: { port: 0, unsafe_bind: "0.0.0.0" } }));
    try {
      expect(await attempt("127.0.0.1", bound[0]!.binding.port)).toBe("connected");
    } finally {
      await Promise.all(bound.map(({ binding }) => binding.close()));
    }
  },
);

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
