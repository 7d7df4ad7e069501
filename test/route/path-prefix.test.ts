import { describe, expect, test } from "vitest";
import { pathReadings, possiblyUnder, surelyUnder, underPrefix } from "../../src/route/path-prefix.ts";

describe("a prefix covers whole segments", () => {
  test.each([
    ["/v1", "/v1", true],
    ["/v1/x", "/v1", true],
    ["/v1?x", "/v1", true],
    ["/v10", "/v1", false],
    ["/v", "/v1", false],
    ["/v1/x", "/v1/", true],
    ["/v1", "/v1/", false],
    ["/anything", "/", true],
    ["*", "/", false],
  ])("%s under %s: %s", (path, prefix, covered) => {
    expect(underPrefix(path, prefix)).toBe(covered);
  });
});

describe("the readings of a path", () => {
  test.each<[string, string[]]>([
    ["/v1/orders?at=/../x%2e", ["/v1/orders"]],
    ["*", ["*"]],
    ["/v1/../admin", ["/v1/../admin", "/admin"]],
    ["/v1/./x", ["/v1/./x", "/v1/x"]],
    ["/a%20b", ["/a%20b", "/a b"]],
    ["/v1/%2e%2E/admin", ["/v1/%2e%2E/admin", "/admin"]],
    ["/v1/%252e%252e/admin", ["/v1/%252e%252e/admin", "/v1/%2e%2e/admin", "/admin"]],
    ["/v1%2f..%2fadmin", ["/v1%2f..%2fadmin", "/admin"]],
    ["/v1\\..\\admin", ["/v1\\..\\admin", "/admin"]],
    ["/v1/..;x/admin;y=1", ["/v1/..;x/admin;y=1", "/admin"]],
    ["//admin", ["//admin", "/admin"]],
    ["/v1//../admin", ["/v1//../admin", "/v1/admin", "/admin"]],
    ["/admin#x", ["/admin#x", "/admin"]],
    ["/admin/..", ["/admin/..", "/"]],
    ["/%", ["/%"]],
    ["/%zz", ["/%zz"]],
  ])("%s", (path, readings) => {
    expect(pathReadings(path)).toEqual(readings);
  });

  test("of a path that is escaped too often cannot be told", () => {
    expect(pathReadings("/%2525252e")).toBeNull();
    expect(surelyUnder(null, ["/"])).toBe(false);
    expect(possiblyUnder(null, ["/admin"])).toBe(true);
  });

  test("have to be covered all for an allowance, and one of them for a refusal", () => {
    const readings = pathReadings("/public/%2e%2e/admin");
    expect(surelyUnder(readings, ["/public"])).toBe(false);
    expect(surelyUnder(readings, ["/public", "/admin"])).toBe(true);
    expect(possiblyUnder(readings, ["/admin"])).toBe(true);
    expect(possiblyUnder(readings, ["/other"])).toBe(false);
  });

  test("are made in bounded time of the longest path", () => {
    const readings = pathReadings(`/${"%2e%2e/;\\".repeat(900)}`);
    expect(readings!.length).toBeLessThan(10);
  });
});
