import { describe, expect, test } from "vitest";
import { signedParts } from "../../src/policy/signed-parts.ts";

const AWS =
  "Authorization: AWS4-HMAC-SHA256 Credential=AK/20261125/eu-west-1/s3/aws4_request, SignedHeaders=host;x-amz-date;x-tenant, Signature=00\r\n";

describe("an unsigned request", () => {
  test.each(["", "Authorization: Bearer abc\r\n", "Signature: sig1=:AA==:\r\n"])(
    "%j covers nothing",
    (fields) => {
      expect(signedParts(fields, "/")).toBe(null);
    },
  );
});

describe("AWS Signature Version 4", () => {
  test.each([
    ["in a header", AWS, "/"],
    [
      "in the query",
      "",
      "/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-SignedHeaders=host%3Bx-tenant&X-Amz-Signature=00",
    ],
  ])("%s covers the path, the host and what it lists", (_, fields, path) => {
    const parts = signedParts(fields, path)!;
    expect([parts.path, parts.host]).toEqual([true, true]);
    expect(parts.covers("x-tenant")).toBe(true);
  });

  test.each([
    ["authorization", true],
    ["x-amz-meta-new", true],
    ["content-type", true],
    ["x-flag", false],
    ["x-amzn-trace-id", false],
  ])("keeps %s from being written, listed or not: %s", (name, covered) => {
    expect(signedParts(AWS, "/")!.covers(name)).toBe(covered);
  });
});

describe("an HTTP Message Signature (RFC 9421)", () => {
  const signed = (components: string) =>
    signedParts(
      `Signature-Input: sig1=(${components});created=1618884473;keyid="k"\r\nSignature: sig1=:AA==:\r\n`,
      "/",
    )!;

  test.each([
    ['"@method" "content-digest"', false, false],
    ['"@path"', true, false],
    ['"@query-param";name="a"', true, false],
    ['"@authority"', false, true],
    ['"@target-uri"', true, true],
  ])("over %s covers the path: %s, the host: %s", (components, path, host) => {
    const parts = signed(components);
    expect([parts.path, parts.host]).toEqual([path, host]);
  });

  test("covers the headers that it lists, and its own", () => {
    const parts = signed('"@method" "X-Tenant"');
    expect(["x-tenant", "signature", "signature-input", "x-flag"].map(parts.covers)).toEqual([
      true,
      true,
      true,
      false,
    ]);
  });
});
