/** The one place where what Node reports about a connection becomes an `EgressError`. Pure. */
import { EgressError, type ErrorCode } from "../errors.ts";

/** What the connection was doing when it failed. */
export type FailurePhase = "resolve" | "connect" | "tls" | "send";

const BY_PHASE: Readonly<Record<FailurePhase, ErrorCode>> = {
  resolve: "DNS_FAILED",
  connect: "CONNECT_FAILED",
  tls: "TLS_FAILED",
  send: "UPSTREAM_RESET",
};

/**
 * Codes of Node and OpenSSL that mean "the peer's certificate was not accepted by us" (node:tls, X509 certificate error codes).
 * UNSPECIFIED is what Node says for those of OpenSSL that it has no name for, such as a key that is too weak.
 */
const CERTIFICATE_CODES =
  /^(?:CERT_|ERR_TLS_CERT|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|CRL_|INVALID_CA|INVALID_PURPOSE|HOSTNAME_MISMATCH|PATH_LENGTH|ERROR_IN_|UNSPECIFIED)/;

/** The peer's own word for refusing the connection: in TLS 1.3 that of a missing client certificate comes after the handshake. */
const TLS_ALERT = /^ERR_SSL_.*_ALERT_/;

/** An error event of a socket in `phase`. The message keeps Node's code, which is safe to log; the cause keeps the rest. */
export function connectionFailure(phase: FailurePhase, error: unknown): EgressError {
  if (error instanceof EgressError) return error;
  const code = String((error as { code?: unknown } | null)?.code ?? "");
  if (phase === "tls" && CERTIFICATE_CODES.test(code)) {
    return new EgressError("CERTIFICATE_REJECTED", `certificate rejected: ${code}`, error);
  }
  if (phase === "send" && TLS_ALERT.test(code)) {
    const refused = new EgressError("TLS_FAILED", `refused by the peer: ${code}`, error);
    refused.reached = "sent";
    return refused;
  }
  return new EgressError(BY_PHASE[phase], `${phase} failed${code === "" ? "" : `: ${code}`}`, error);
}
