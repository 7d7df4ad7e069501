/** What a policy's version depends on, and that nothing but its file makes a policy. */
import { describe, expect, test } from "vitest";
import { compileOrThrow } from "../../src/config/compile.ts";
import type { Config } from "../../src/config/types.ts";

const configOf = (text: string): Config => compileOrThrow(text, "p").config;

describe("the version", () => {
  test("changes with any value of the policy", () => {
    const texts = ["version: 1", "version: 1\nlisten: { port: 1 }", "version: 1\ndefaults: { timeout: 1s }"];
    expect(new Set(texts.map((text) => configOf(text).version)).size).toBe(texts.length);
  });

  test("does not change with what means the same", () => {
    const versions = [
      "version: 1",
      "version: 1 # comment\nacl: { mode: enforce }",
      "version: 1\ndefaults: { connect_timeout: 2000ms }",
    ];
    expect(new Set(versions.map((text) => configOf(text).version)).size).toBe(1);
  });

  test("depends on the order of destinations, which decides who takes a call", () => {
    const a = "{ name: a, hosts: [x] }";
    const b = "{ name: b, hosts: [y] }";
    expect(configOf(`version: 1\ndestinations: [${a}, ${b}]`).version).not.toBe(
      configOf(`version: 1\ndestinations: [${b}, ${a}]`).version,
    );
  });
});

test("a polluted Object.prototype adds nothing to a policy (S25)", () => {
  const clean = configOf("version: 1\ndestinations: [{ name: a, hosts: [x] }]");
  const polluted = ["retry", "timeout", "destinations", "tls", "local_port", "max_retries", "whatever"];
  try {
    for (const key of polluted)
      Object.defineProperty(Object.prototype, key, {
        value: "1ms",
        configurable: true,
        enumerable: true,
        writable: true,
      });
    expect(JSON.stringify(configOf("version: 1\ndestinations: [{ name: a, hosts: [x] }]"))).toBe(
      JSON.stringify(clean),
    );
  } finally {
    for (const key of polluted) Reflect.deleteProperty(Object.prototype, key);
  }
});
