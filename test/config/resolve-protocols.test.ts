/** Policy file → configuration: what TLS, plain TCP and gRPC are called in the file, and what they become. */
import { describe, expect, test } from "vitest";
import { compileOrThrow } from "../../src/config/compile.ts";
import type { Config } from "../../src/config/types.ts";
import { GRPC_CONDITIONS } from "../../src/config/units.ts";

const configOf = (text: string): Config => compileOrThrow(text, "p").config;

describe("what tls means", () => {
  test.each([
    ["{ originate: true }", { originate: true, intercept: false }],
    ["{ ca: file:/ca }", { originate: true, intercept: false }],
    ["{ intercept: true }", { originate: false, intercept: true }],
    ["{ intercept: false }", { originate: false, intercept: false }],
    ["{ intercept: true, ca: file:/ca }", { originate: true, intercept: true }],
    ["{ intercept: true, originate: true }", { originate: true, intercept: true }],
    ["{ intercept: true, originate: false, ca: file:/ca }", { originate: false, intercept: true }],
    ["{ originate: false }", { originate: false, intercept: false }],
  ])("%s", (tls, expected) => {
    const [a] = configOf(`version: 1\ndestinations: [{ name: a, hosts: [x], tls: ${tls} }]`).destinations;
    expect(a!.tls).toMatchObject(expected);
  });

  test("a destination without it has none", () => {
    expect(configOf("version: 1\ndestinations: [{ name: a, hosts: [x] }]").destinations[0]!.tls).toBeNull();
  });
});

test.each(GRPC_CONDITIONS.map((name, i) => [name, i + 1] as const))(
  "%s is gRPC status %d",
  (name, status) => {
    const { retry } = configOf(`version: 1\ndefaults: { retry: { on: [${name}] } }`).destinations[0]!.policy;
    expect(retry).toMatchObject({ on: [], statuses: [], grpcStatuses: [status] });
  },
);

test("a destination of plain bytes keeps its port and its TLS", () => {
  const [database] = configOf(`
version: 1
destinations:
  - { name: db, hosts: [db.example], protocol: tcp, local_port: 15432, ports: [5432], tls: { client_cert: file:/c.pem } }
`).destinations;
  expect(database).toMatchObject({
    protocol: "tcp",
    localPort: 15_432,
    upstream: { host: "db.example", port: 5432 },
    tls: { originate: true, intercept: false, clientCert: "file:/c.pem" },
  });
});
