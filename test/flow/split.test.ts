/** A part of the calls at another upstream, judged by what both received. */
import type { TLSSocket } from "node:tls";
import { describe, expect, test } from "vitest";
import { certificate, certificateFile } from "../kit/certificates.ts";
import { field } from "../kit/message.ts";
import { answer, type Origin, ok, scriptedOrigin, step } from "../kit/origin.ts";
import { get, startProxy } from "../kit/proxy.ts";
import { askOnce } from "../kit/raw-client.ts";

const toCanary = (canary: Origin, weight: number, sticky?: string) => [
  { host: "127.0.0.1", port: canary.port, weight, ...(sticky === undefined ? {} : { sticky }) },
];

describe("a split", () => {
  test("sends all attempts of a call to its side, under the side's own Host", async () => {
    await using origin = await scriptedOrigin([ok("stable")]);
    await using canary = await scriptedOrigin([
      answer("HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n"),
      ok("canary"),
    ]);
    const retry = { max_retries: 1, backoff: { base: "1ms", max: "2ms" } };
    await using proxy = await startProxy({ policy: { defaults: { retry, split: toCanary(canary, 100) } } });
    expect((await proxy.get(origin, "/a?b")).body.toString()).toBe("canary");
    expect(canary.requests.map(({ head }) => head)).toEqual(
      Array(2).fill(`GET /a?b HTTP/1.1\r\nHost: ${canary.authority}\r\n\r\n`),
    );
    expect(origin.connections).toHaveLength(0);
  });

  test("keeps every tenant on the same side, in every sandbox", async () => {
    await using origin = await scriptedOrigin([ok("stable")]);
    await using canary = await scriptedOrigin([ok("canary")]);
    const policy = { defaults: { split: toCanary(canary, 50, "header:x-tenant") } };
    const sides: string[][] = [];
    for (let sandbox = 0; sandbox < 2; sandbox++) {
      await using proxy = await startProxy({ policy });
      using client = await proxy.client();
      const answered: string[] = [];
      for (let tenant = 0; tenant < 20; tenant++) {
        answered.push((await client.ask(get(origin, "/", `X-Tenant: t${tenant}\r\n`))).body.toString());
      }
      sides.push(answered);
    }
    expect(sides[1]).toEqual(sides[0]);
    expect(new Set(sides[0])).toEqual(new Set(["stable", "canary"]));
  });

  test("keeps a whole sandbox on one side", async () => {
    await using origin = await scriptedOrigin([ok("stable")]);
    await using canary = await scriptedOrigin([ok("canary")]);
    await using proxy = await startProxy({
      policy: { defaults: { split: toCanary(canary, 50, "sandbox") } },
    });
    proxy.lifecycle.workStarted("a", Number.POSITIVE_INFINITY, "");
    const sides = new Set<string>();
    for (let i = 0; i < 8; i++) sides.add((await proxy.get(origin)).body.toString());
    expect(sides.size).toBe(1);
  });

  test("leaves a call alone whose signature covers the host", async () => {
    await using origin = await scriptedOrigin([ok("stable")]);
    await using canary = await scriptedOrigin([ok("canary")]);
    await using proxy = await startProxy({ policy: { defaults: { split: toCanary(canary, 100) } } });
    const signed =
      "Authorization: AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host;x-amz-date, Signature=0\r\n";
    expect((await proxy.ask(get(origin, "/", signed))).body.toString()).toBe("stable");
    expect(canary.connections).toHaveLength(0);
  });

  test("dials its side also where the destination says where to dial", async () => {
    await using origin = await scriptedOrigin([ok("stable")]);
    await using canary = await scriptedOrigin([ok("canary")]);
    const upstream = { host: "127.0.0.1", port: origin.port };
    const destination = { name: "api", hosts: ["api.test"], local_port: 9999, upstream };
    const policy = { destinations: [{ ...destination, split: toCanary(canary, 100) }] };
    await using proxy = await startProxy({ policy });
    const call = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    expect((await askOnce(proxy.localPorts.get("api")!, call)).body.toString()).toBe("canary");
    expect(field(canary.requests[0]!, "host")).toBe(canary.authority);
  });

  test("asks for its side by name in TLS, and verifies that name", async () => {
    const named = step(async ({ peer }) => {
      const { servername } = peer.socket as TLSSocket;
      await peer.write(
        `HTTP/1.1 200 OK\r\nContent-Length: ${String(servername).length}\r\n\r\n${servername}`,
      );
      return true;
    });
    await using origin = await scriptedOrigin([named], { tls: certificate("server") });
    await using canary = await scriptedOrigin([named], { tls: certificate("server") });
    const proxyTo = (host: string) =>
      startProxy({
        lookup: async () => [{ address: "127.0.0.1", family: 4 }],
        policy: {
          destinations: [
            {
              name: "api",
              hosts: ["api.test"],
              upstream: { host: "127.0.0.1", port: origin.port },
              tls: { originate: true, ca: certificateFile("ca") },
              split: [{ host, port: canary.port, weight: 100 }],
            },
          ],
        },
      });
    const call = "GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n";
    await using good = await proxyTo("canary.wild.test");
    expect((await good.ask(call)).body.toString()).toBe("canary.wild.test");
    await using bad = await proxyTo("other.test");
    expect(field(await bad.ask(call), "outrider-error")).toBe("CERTIFICATE_REJECTED");
    expect(origin.connections).toHaveLength(0);
  });

  test("is held to the guard on addresses", async () => {
    await using origin = await scriptedOrigin([ok()]);
    const split = [{ host: "169.254.169.254", port: 80, weight: 100 }];
    await using proxy = await startProxy({ policy: { defaults: { split } } });
    expect(field(await proxy.get(origin), "outrider-error")).toBe("ADDRESS_DENIED");
    expect(origin.connections).toHaveLength(0);
  });
});
