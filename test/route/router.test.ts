import { describe, expect, test } from "vitest";
import { Body } from "../../src/body.ts";
import type { AccessRule, Acl } from "../../src/config/types.ts";
import { type EgressRequest, EgressResponse } from "../../src/exchange.ts";
import { createRouter } from "../../src/route/router.ts";
import { call } from "../policy/calls.ts";
import { acl, destination, route } from "./destinations.ts";

/** A router whose chains only say where a call came to: the destination and the path of its route. */
function routerFor(policy: Acl, identity = "", hasPassed?: (fields: string) => boolean) {
  const destinations = [
    destination("pay", ["pay.example"], { routes: [route("/v1")] }),
    destination("default", []),
  ];
  return createRouter(
    destinations,
    policy,
    ({ name }, found) => ({
      outside: (next) => next,
      inside: [],
      send: async () => new EgressResponse(200, `${name} ${found?.match.path ?? "-"}`, "", Body.of("")),
    }),
    identity,
    hasPassed,
  );
}

const forOrders: AccessRule = {
  name: "orders",
  action: "allow",
  hosts: ["pay.example"],
  ports: [],
  methods: [],
  paths: [],
  identities: ["orders-*"],
};

/** What came of a call: the chain that took it, or the code of its refusal; and what its trail says. */
async function outcomeOf(router: ReturnType<typeof routerFor>, request: EgressRequest) {
  const outcome = await router.send(request).then(
    ({ reason }) => reason,
    (error) => error.code as string,
  );
  return [outcome, request.trail];
}

describe("the router", () => {
  test.each([
    ["pay.example", "/v1/x", "pay /v1"],
    ["pay.example", "/v2", "pay -"],
    ["other.example", "/v1", "default -"],
  ])("hands a call to %s%s to the chain %s", async (host, path, chain) => {
    expect(await outcomeOf(routerFor(acl()), call({ host, path }))).toEqual([chain, []]);
  });

  test("judges calls as those of its identity, and tunnels before they are promised too", async () => {
    const policy = acl({ default: "deny", rules: [{ ...forOrders, hosts: ["other.example"] }] });
    const request = () => call({ host: "other.example" });
    expect(await outcomeOf(routerFor(policy, "orders-api"), request())).toEqual(["default -", []]);
    expect(routerFor(policy, "orders-api").admits("other.example", 443)).toBe(true);
    for (const identity of ["payments", ""]) {
      const denied = [{ kind: "denied", rule: "acl.default: deny" }];
      expect(await outcomeOf(routerFor(policy, identity), request())).toEqual(["DENIED", denied]);
      expect(routerFor(policy, identity).admits("other.example", 443)).toBe(false);
    }
  });

  test("notes under mode: report what it would refuse, and sends it", async () => {
    const policy = acl({ mode: "report", rules: [{ ...forOrders, action: "deny", identities: [] }] });
    const noted = [{ kind: "would_deny", rule: "acl.rules.orders" }];
    expect(await outcomeOf(routerFor(policy), call({ host: "pay.example" }))).toEqual(["pay -", noted]);
  });

  test("judges each host by its own rules, however they alternate", async () => {
    const router = routerFor(acl({ default: "deny", rules: [{ ...forOrders, identities: [] }] }));
    for (let i = 0; i < 3; i++) {
      expect((await outcomeOf(router, call({ host: "pay.example" })))[0]).toBe("pay -");
      expect((await outcomeOf(router, call({ host: "other.example" })))[0]).toBe("DENIED");
    }
  });

  test("refuses a call that came back, even where all is allowed", async () => {
    const router = routerFor(acl(), "", (fields) => fields.includes("mark"));
    expect((await outcomeOf(router, call({ fields: "A: mark\r\n" })))[0]).toBe("LOOP_DETECTED");
    expect((await outcomeOf(router, call({ fields: "A: b\r\n" })))[0]).toBe("default -");
  });

  test("says of a refused tunnel that rules could not see into it", async () => {
    const router = routerFor(
      acl({ default: "deny", rules: [{ ...forOrders, hosts: [], paths: ["/v1"], identities: [] }] }),
    );
    const tunnel = call({ method: "CONNECT", host: "a.example", path: "a.example:443" });
    await expect(router.send(tunnel)).rejects.toThrow(/acl\.default: deny; rules with methods or paths/);
    expect(router.admits("a.example", 443)).toBe(true);
  });
});
