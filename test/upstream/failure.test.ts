import { expect, test } from "vitest";
import { EgressError } from "../../src/errors.ts";
import { connectionFailure, type FailurePhase } from "../../src/upstream/failure.ts";

test.each<[FailurePhase, string, string, string]>([
  ["resolve", "ENOTFOUND", "DNS_FAILED", "unsent"],
  ["connect", "ECONNREFUSED", "CONNECT_FAILED", "unsent"],
  ["connect", "EHOSTUNREACH", "CONNECT_FAILED", "unsent"],
  ["tls", "ECONNRESET", "TLS_FAILED", "unsent"],
  ["tls", "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION", "TLS_FAILED", "unsent"],
  ["tls", "CERT_HAS_EXPIRED", "CERTIFICATE_REJECTED", "final"],
  ["tls", "CERT_IDENTITY", "CERTIFICATE_REJECTED", "final"],
  ["tls", "UNABLE_TO_VERIFY_LEAF_SIGNATURE", "CERTIFICATE_REJECTED", "final"],
  ["tls", "SELF_SIGNED_CERT_IN_CHAIN", "CERTIFICATE_REJECTED", "final"],
  ["tls", "INVALID_PURPOSE", "CERTIFICATE_REJECTED", "final"],
  ["tls", "UNSPECIFIED", "CERTIFICATE_REJECTED", "final"],
  ["send", "ECONNRESET", "UPSTREAM_RESET", "sent"],
  ["send", "EPIPE", "UPSTREAM_RESET", "sent"],
  // TLS 1.3: the server's word on the client certificate comes after the handshake.
  ["send", "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED", "TLS_FAILED", "sent"],
  ["send", "CERT_HAS_EXPIRED", "UPSTREAM_RESET", "sent"],
])("%s: %s is %s, %s", (phase, nodeCode, code, reached) => {
  const cause = Object.assign(new Error("10.0.0.1 said no"), { code: nodeCode });
  const failure = connectionFailure(phase, cause);
  expect(failure).toMatchObject({ code, reached, cause });
  expect(failure.message).toContain(nodeCode);
  expect(failure.message).not.toContain("10.0.0.1");
});

test("what is an EgressError already passes unchanged, and what is no error at all becomes one", () => {
  const error = new EgressError("ADDRESS_DENIED", "x");
  expect(connectionFailure("connect", error)).toBe(error);
  expect(connectionFailure("send", null).code).toBe("UPSTREAM_RESET");
});
