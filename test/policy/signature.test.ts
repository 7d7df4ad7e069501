import { describe, expect, test } from "vitest";
import { isSigned, signatureEndsMs, signedHeaders } from "../../src/policy/signature.ts";

const AUTHORIZATION =
  "Authorization: AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20260901/eu-west-1/sqs/aws4_request, " +
  "SignedHeaders=host;traceparent;x-amz-date, Signature=0abc\r\n";
const PRESIGNED =
  "/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20260901T120000Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host%3Bx-amz-acl";
const NOON = Date.UTC(2026, 8, 1, 12);

describe("what a signature covers", () => {
  test.each([
    ["Authorization", AUTHORIZATION, "/", ";host;traceparent;x-amz-date;"],
    ["without spaces", AUTHORIZATION.replaceAll(", ", ","), "/", ";host;traceparent;x-amz-date;"],
    [
      "SigV4A",
      "authorization: AWS4-ECDSA-P256-SHA256 Credential=A/20260901/s3/aws4_request, SignedHeaders=host;x-amz-region-set, Signature=0\r\n",
      "/",
      ";host;x-amz-region-set;",
    ],
    [
      "names in upper case",
      "Authorization: AWS4-HMAC-SHA256 SignedHeaders=Host;TraceParent\r\n",
      "/",
      ";host;traceparent;",
    ],
    ["a presigned URL", "", PRESIGNED, ";host;x-amz-acl;"],
    ["a presigned URL with bare semicolons", "", "/?X-Amz-SignedHeaders=host;range&x=1", ";host;range;"],
    ["lower-case escapes", "", "/?X-Amz-SignedHeaders=host%3brange", ";host;range;"],
    ["no signature", "Authorization: Bearer SignedHeaders=host\r\n", "/?x=1", ""],
    ["another scheme beside a presigned URL", "Authorization: Bearer x\r\n", PRESIGNED, ";host;x-amz-acl;"],
    ["a name that only ends alike", "", "/?not-X-Amz-SignedHeaders=host", ""],
  ])("%s", (_, fields, path, list) => {
    expect(signedHeaders(fields, path)).toBe(list);
  });

  test("a header is signed by its whole name", () => {
    expect(isSigned(";host;traceparent;", "traceparent")).toBe(true);
    expect(isSigned(";host;traceparent;", "trace")).toBe(false);
    expect(isSigned("", "host")).toBe(false);
  });
});

describe("until when a signature holds", () => {
  test.each([
    ["no signature", "X-Amz-Date: 20260901T120000Z\r\n", "/", Number.POSITIVE_INFINITY],
    ["five minutes from x-amz-date", `${AUTHORIZATION}X-Amz-Date: 20260901T120000Z\r\n`, "/", NOON + 300_000],
    [
      "five minutes from Date",
      `${AUTHORIZATION}Date: Tue, 01 Sep 2026 12:00:00 GMT\r\n`,
      "/",
      NOON + 300_000,
    ],
    ["a presigned URL's own life", "", PRESIGNED, NOON + 900_000],
    ["no date at all", AUTHORIZATION, "/", Number.NEGATIVE_INFINITY],
    ["a date that is none", `${AUTHORIZATION}X-Amz-Date: today\r\n`, "/", Number.NEGATIVE_INFINITY],
  ])("%s", (_, fields, path, endsMs) => {
    expect(signatureEndsMs(fields, path, NOON)).toBe(endsMs);
  });
});
