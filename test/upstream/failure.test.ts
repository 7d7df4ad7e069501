import { expect, test } from "vitest";
import { EgressError } from "../../src/errors.ts";
import {
  connectionFailure,
  type FailurePhase,
  type StreamEnd,
  streamFailure,
} from "../../src/upstream/failure.ts";

test.each<[FailurePhase, string, string, string]>([
  ["resolve", "ENOTFOUND", "DNS_FAILED", "unsent"],
  ["connect", "ECONNREFUSED", "CONNECT_FAILED", "unsent"],
  ["connect", "EHOSTUNREACH", "CONNECT_FAILED", "unsent"],
  ["tls", "ECONNRESET", "TLS_FAILED", "unsent"],
  ["tls", "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION", "TLS_FAILED", "unsent"],
  ["tls", "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL", "VERSION_REFUSED", "final"],
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

const broken = new EgressError("UPSTREAM_RESET", "send failed: ECONNRESET");

test.each<[string, Partial<StreamEnd>, string, string]>([
  ["REFUSED_STREAM", { code: 7 }, "STREAM_REFUSED", "unsent"],
  ["REFUSED_STREAM on a connection that broke", { code: 7, connection: broken }, "STREAM_REFUSED", "unsent"],
  ["a GOAWAY below it", { aboveGoaway: true }, "STREAM_REFUSED", "unsent"],
  ["a GOAWAY below it with an error", { aboveGoaway: true, code: 11 }, "STREAM_REFUSED", "unsent"],
  ["the end of the connection", { code: 8, connection: broken }, "UPSTREAM_RESET", "sent"],
  ["NO_ERROR", { code: 0 }, "UPSTREAM_RESET", "sent"],
  ["INTERNAL_ERROR", { code: 2 }, "UPSTREAM_RESET", "sent"],
  ["CANCEL", { code: 8 }, "UPSTREAM_RESET", "sent"],
  ["INADEQUATE_SECURITY", { code: 12 }, "UPSTREAM_RESET", "sent"],
  ["ENHANCE_YOUR_CALM", { code: 11 }, "UPSTREAM_RESET", "final"],
  ["PROTOCOL_ERROR", { code: 1 }, "UPSTREAM_INVALID", "final"],
  ["FLOW_CONTROL_ERROR", { code: 3 }, "UPSTREAM_INVALID", "final"],
  ["FRAME_SIZE_ERROR", { code: 6 }, "UPSTREAM_INVALID", "final"],
  ["COMPRESSION_ERROR", { code: 9 }, "UPSTREAM_INVALID", "final"],
  ["HTTP_1_1_REQUIRED", { code: 13 }, "VERSION_REFUSED", "final"],
])("a stream that ended with %s: %s is %s", (_, end, code, reached) => {
  const failure = streamFailure({ code: 0, error: null, aboveGoaway: false, connection: null, ...end });
  expect(failure).toMatchObject({ code, reached });
});

test("the streams of one connection fail with an error each, so that what is noted on one does not change another", () => {
  const end = { code: 0, error: null, aboveGoaway: false, connection: broken };
  streamFailure(end).reached = "final";
  expect(streamFailure(end)).toMatchObject({ message: broken.message, reached: "sent" });
});
