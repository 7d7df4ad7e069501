import { describe, expect, test } from "vitest";
import { Body } from "../../src/body.ts";
import type { MirrorOptions } from "../../src/config/types.ts";
import type { EgressRequest } from "../../src/exchange.ts";
import {
  isDrawn,
  isMirrorable,
  mirrorCopy,
  withoutCredentials,
  withoutSecretParameters,
} from "../../src/policy/mirror-copy.ts";
import { call, failure, seeded } from "./calls.ts";

const OPTIONS: MirrorOptions = {
  host: "shadow.example",
  port: 0,
  percent: 100,
  bodyBytesMax: 10,
  concurrencyMax: 1,
  keepCredentials: false,
};

const streamed = (length: number | null) =>
  new Body(length, { pause: () => {}, resume: () => {}, cancel: () => {} });

function cancelledCall(): EgressRequest {
  const request = call();
  request.cancelled.fire(failure("CLIENT_GONE"));
  return request;
}

describe("a call is mirrored", () => {
  test.each<[string, EgressRequest, boolean]>([
    ["with no body", call(), true],
    ["with a body of just the length that is allowed", call({ body: Body.of("0123456789") }), true],
    ["not with a longer one", call({ body: Body.of("0123456789a") }), false],
    ["with one that is still coming and short enough", call({ body: streamed(10) }), true],
    ["with one that is still coming and may be", call({ body: streamed(null) }), true],
    ["not with one that is still coming and longer", call({ body: streamed(11) }), false],
    ["whatever its method", call({ method: "POST", body: Body.of("x") }), true],
    ["not on a further attempt", call().with({ attempt: 2 }), false],
    ["not as a tunnel", call({ method: "CONNECT" }), false],
    ["not when it changes the protocol", call({ upgrade: "websocket" }), false],
    ["not when it is a copy itself", call({ fields: "outrider-mirror: 1\r\n" }), false],
    ["not when nobody waits for it any more", cancelledCall(), false],
  ])("%s", (_, request, expected) => {
    expect(isMirrorable(request, OPTIONS)).toBe(expected);
  });
});

describe("a call is drawn", () => {
  const ID = "4bf92f3577b34da6a3ce929d0e0e4736";
  const traceparent = (id: string) => `traceparent: 00-${id}-00f067aa0ba902b7-01\r\n`;
  const xray = (id: string) => `X-Amzn-Trace-Id: Root=1-${id.slice(0, 8)}-${id.slice(8)}\r\n`;
  const ids = (count: number) => {
    const random = seeded(5);
    const digits = () =>
      Math.floor(random() * 2 ** 32)
        .toString(16)
        .padStart(8, "0");
    return Array.from({ length: count }, () => digits() + digits() + digits() + digits());
  };
  const never = () => {
    throw new Error("chance was asked");
  };
  const drawn = (fields: string, percent: number) => isDrawn({ fields }, "", percent, never);

  test("with its trace: always the same, however the trace is written", () => {
    for (const id of ids(50)) {
      const once = drawn(traceparent(id), 50);
      expect(drawn(traceparent(id), 50)).toBe(once);
      expect(drawn(xray(id), 50)).toBe(once);
      expect(isDrawn({ fields: "" }, id, 50, never)).toBe(once);
    }
  });

  test("with its own trace rather than the invocation's", () => {
    const [one, other] = [
      ids(60).find((id) => drawn(traceparent(id), 50))!,
      ids(60).find((id) => !drawn(traceparent(id), 50))!,
    ];
    expect(isDrawn({ fields: traceparent(one) }, other, 50, never)).toBe(true);
    expect(isDrawn({ fields: traceparent(other) }, one, 50, never)).toBe(false);
  });

  test.each([1, 10, 50])("in %i percent of the traces", (percent) => {
    const part = ids(4000).filter((id) => drawn(traceparent(id), percent)).length / 4000;
    expect(part).toBeGreaterThan((percent / 100) * 0.7);
    expect(part).toBeLessThan((percent / 100) * 1.3);
  });

  test("by chance without a trace, and with one that cannot be read", () => {
    for (const fields of ["", "traceparent: 00-0-0-0\r\n"]) {
      expect(isDrawn({ fields }, "", 50, () => 0.49)).toBe(true);
      expect(isDrawn({ fields }, "", 50, () => 0.5)).toBe(false);
    }
  });

  test("always at 100 percent", () => {
    expect(ids(200).every((id) => drawn(traceparent(id), 100))).toBe(true);
    expect(drawn(traceparent(ID), 100)).toBe(true);
  });
});

describe("S21: no credentials go along", () => {
  test.each([
    "Authorization: Bearer x",
    "authorization: AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host, Signature=y",
    "Proxy-Authorization: Basic x",
    "X-Serverless-Authorization: Bearer x",
    "Cookie: a=b",
    "COOKIE2: a",
    "X-Amz-Security-Token: x",
    "X-Api-Key: x",
    "Api-Key: x",
    "x-functions-key: x",
    "Ocp-Apim-Subscription-Key: x",
    "X-Goog-Api-Key: x",
    "X-Auth-User: x",
    "X-Vault-Token: x",
    "PRIVATE-TOKEN: x",
    "X-CSRF-Token: x",
    "X-Session-Id: x",
    "DPoP: x",
    "Signature-Input: sig1=()",
    "Signature: sig1=:x:",
    "X-Goog-IAP-JWT-Assertion: x",
    "X-Amzn-Oidc-Accesstoken: x",
    "X-Forwarded-Client-Cert: x",
    "X-Client-Secret: x",
    "X-Password: x",
  ])("%s", (line) => {
    expect(withoutCredentials(`Accept: a\r\n${line}\r\nX-B: c\r\n`)).toBe("Accept: a\r\nX-B: c\r\n");
  });

  test.each([
    "Accept: a",
    "Content-Type: application/json",
    "Idempotency-Key: k",
    "traceparent: 00-1",
    "X-Amzn-Trace-Id: Root=1",
    "X-Author: a",
    'If-None-Match: "a"',
    "X-Tenant: cookie token secret",
  ])("but %s does, to the byte", (line) => {
    expect(withoutCredentials(`${line}\r\n`)).toBe(`${line}\r\n`);
  });

  test.each([
    ["/a", "/a"],
    ["/a?", "/a?"],
    ["/a?b=c&d", "/a?b=c&d"],
    ["/a?b=%20c+d&&e=", "/a?b=%20c+d&&e="],
    ["/a?X-Amz-Algorithm=x&X-Amz-Signature=y", "/a"],
    ["/a?k=v&X-Amz-Credential=x&list-type=2&x-amz-signature=y", "/a?k=v&list-type=2"],
    ["/a?X-Goog-Signature=y&k=v", "/a?k=v"],
    ["/a?sv=1&sig=x", "/a?sv=1"],
    ["/a?AWSAccessKeyId=x&Signature=y&Expires=1", "/a?Expires=1"],
    ["/a?access_token=x", "/a"],
    ["/a?%61ccess_token=x&b=1", "/a?b=1"],
    ["/a?api_key=x&apikey=y&key=z&b=1", "/a?b=1"],
    ["/a?b=1;token=x;c=2", "/a?b=1;c=2"],
    ["/a?client_secret=x&code=y&state=z", "/a?state=z"],
    ["/a?token", "/a"],
    ["/token/secret?b=1", "/token/secret?b=1"],
    ["/a?author=x&keyboard=y&design=z", "/a?author=x&keyboard=y&design=z"],
    ["/a?%zz=1&b=2", "/a?%zz=1&b=2"],
  ])("in a target: %s becomes %s", (path, expected) => {
    expect(withoutSecretParameters(path)).toBe(expected);
  });
});

describe("the copy", () => {
  const request = call({
    method: "PUT",
    path: "/x?a=1&sig=2",
    fields: "A: b\r\nAuthorization: secret\r\n",
    body: Body.of("payload"),
    hasLength: true,
    httpVersion: 2,
    id: "call-1",
  }).with({ deadlineMs: 500 });

  test("asks the mirror for the same, marked, and is dialled there whatever the destination says", () => {
    const copy = mirrorCopy(request, OPTIONS, "payload");
    expect(copy).toMatchObject({
      method: "PUT",
      scheme: "https",
      host: "shadow.example",
      port: 443,
      address: { host: "shadow.example", port: 0 },
      path: "/x?a=1",
      fields: "A: b\r\nOutrider-Mirror: 1\r\n",
      hasLength: true,
      httpVersion: 2,
      deadlineMs: 500,
      attempt: 1,
      id: "",
    });
    expect(copy.body.whole).toBe("payload");
    expect(copy.body).not.toBe(request.body);
  });

  test("goes to the mirror's own port where it has one", () => {
    expect(mirrorCopy(request, { ...OPTIONS, port: 8443 }, "")).toMatchObject({
      port: 8443,
      address: { host: "shadow.example", port: 8443 },
    });
  });

  test("keeps credentials where the policy says so", () => {
    const copy = mirrorCopy(request, { ...OPTIONS, keepCredentials: true }, "");
    expect(copy.path).toBe(request.path);
    expect(copy.fields).toBe("A: b\r\nAuthorization: secret\r\nOutrider-Mirror: 1\r\n");
  });

  test("shares neither cancellation, end nor trail with the call", () => {
    const copy = mirrorCopy(request, OPTIONS, "payload");
    expect(copy.cancelled).not.toBe(request.cancelled);
    expect(copy.settled).not.toBe(request.settled);
    expect(copy.trail).not.toBe(request.trail);
    expect(copy.onInterim).toBeNull();
  });
});
