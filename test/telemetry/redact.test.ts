/** What is hidden in targets and in the texts of errors: secrets never appear in a line. */
import { describe, expect, test } from "vitest";
import { redactTarget, redactText } from "../../src/telemetry/redact.ts";

const hidden: readonly [why: string, target: string, expected: string][] = [
  ["a token", "/a?token=s3cret", "/a?token=REDACTED"],
  ["a name in any case", "/a?Access_Token=s3cret&b=1", "/a?Access_Token=REDACTED&b=1"],
  [
    "every X-Amz parameter of a presigned request",
    "/o?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2Fx&x-amz-signature=abc&list-type=2",
    "/o?X-Amz-Algorithm=REDACTED&X-Amz-Credential=REDACTED&x-amz-signature=REDACTED&list-type=2",
  ],
  ["a Cloud Storage signature", "/o?X-Goog-Signature=abc", "/o?X-Goog-Signature=REDACTED"],
  ["an Azure SAS", "/b?sv=2024&sig=a%2Bb%3D", "/b?sv=2024&sig=REDACTED"],
  ["a value that itself has an equals sign", "/b?sig=abc==", "/b?sig=REDACTED"],
  ["an equals sign within a value", "/b?sig=a=b", "/b?sig=REDACTED"],
  ["a signature", "/b?Signature=x&Expires=1", "/b?Signature=REDACTED&Expires=1"],
  ["an access key id of the old S3 style", "/b?AWSAccessKeyId=AKIA", "/b?AWSAccessKeyId=REDACTED"],
  ["an API key", "/b?key=AIza&api_key=1&x-api-key=2", "/b?key=REDACTED&api_key=REDACTED&x-api-key=REDACTED"],
  ["a name with brackets", "/b?auth[token]=1&key[]=2", "/b?auth[token]=REDACTED&key[]=REDACTED"],
  ["a name that is percent-encoded", "/b?%74oken=s3cret", "/b?%74oken=REDACTED"],
  ["a parameter after a semicolon", "/b?a=1;password=s3cret", "/b?a=1;password=REDACTED"],
  ["a path parameter", "/b;jsessionid=s3cret?x=1", "/b;jsessionid=REDACTED?x=1"],
  ["an OAuth code", "/cb?code=s3cret&state=1", "/cb?code=REDACTED&state=1"],
  ["a fragment", "/cb#access_token=s3cret", "/cb#access_token=REDACTED"],
  ["a second query", "/b?u=/x?token=s3cret", "/b?u=/x?token=REDACTED"],
  ["a pair inside a value", "/b?q=token=s3cret", "/b?q=REDACTED"],
  ["a URL in a value", "/b?u=https%3A%2F%2Fx%2F%3Ftoken%3Ds3cret&c=1", "/b?u=REDACTED&c=1"],
  ["a URL in a URL in a value", "/b?u=%2Fx%3Fv%3D%252Fy%253Ftoken%253Ds3cret", "/b?u=REDACTED"],
  ["a URL that is the whole query", "/b?https%3A%2F%2Fx%2F%3Ftoken%3Ds3cret", "/b?REDACTED"],
  ["a URL in a name", "/b?x%3Ftoken%3Ds3cret%26a=1", "/b?REDACTED"],
  ["userinfo in a path", "/p/https://user:s3cret@h/x", "/p/https://REDACTED@h/x"],
  ["userinfo with an at sign in the password", "/p/https://u:s3@cret@h/x", "/p/https://REDACTED@h/x"],
  ["userinfo that is percent-encoded", "/p?u=https%3A%2F%2Fu%3As3cret%40h", "/p?u=REDACTED"],
  ["userinfo of a URL that ends the target", "/p/https://u:s3cret@h", "/p/https://REDACTED@h"],
];

describe("a target loses", () => {
  test.each(hidden)("%s", (_why, target, expected) => {
    expect(redactTarget(target)).toBe(expected);
  });
});

const kept = [
  "/",
  "/v1/charges?limit=10&author=knuth&page=2",
  "/a?key-marker=x&prefix=p/",
  "/a?email=someone@example.com",
  "/tokens/12",
  "/a?token=",
  "/a?x=100%25&y=%zz",
  "api.pay.example:443",
  "/a?q=a%3Db",
];

test.each(kept)("a target without secrets stays as it is: %s", (target) => {
  expect(redactTarget(target)).toBe(target);
});

const texts: readonly [why: string, text: string][] = [
  ["a quoted header", "bad head: Authorization: Bearer abcdef-s3cret"],
  ["a quoted cookie", "Cookie: a=1; s3cret\nnext line"],
  ["a header in quotes", 'got {"x-api-key": "s3cret"}'],
  ["a bearer token alone", "token Bearer abcdefghijk.s3cret.lmn rejected"],
  ["basic credentials alone", "sent Basic dXNlcjpz.s3cret== there"],
  ["a URL", "cannot fetch https://user:s3cret@h/x?token=s3cret now"],
  ["a key in PEM", "x\n-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----\ny"],
  ["a key in PEM that is cut off", "-----BEGIN EC PRIVATE KEY-----\ns3cret"],
];

test.each(texts)("a text loses %s", (_why, text) => {
  expect(redactText(text)).not.toContain("s3cret");
  expect(redactText(text)).toContain("REDACTED");
});

test("a text keeps what is around a secret", () => {
  expect(redactText("GET https://h/x?token=abc failed")).toBe("GET https://h/x?token=REDACTED failed");
  expect(redactText("connect ECONNREFUSED 10.0.0.1:443")).toBe("connect ECONNREFUSED 10.0.0.1:443");
});

test("a hostile target of the longest head is redacted in one pass", () => {
  for (const unit of ["?", "://", "%3a%2f%2f", "=", "%25", "&token=%3D", "key-", ";a@", "authauth"]) {
    const target = `/${unit.repeat(Math.ceil(65_536 / unit.length))}`;
    expect(redactTarget(target).startsWith("/")).toBe(true);
  }
});
