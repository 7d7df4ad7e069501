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

/** OpenSSL's word for a server that shares no protocol of ours (RFC 7301 §3.2). */
const NO_PROTOCOL = "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL";

/** An error event of a socket in `phase`. The message keeps Node's code, which is safe to log; the cause keeps the rest. */
export function connectionFailure(phase: FailurePhase, error: unknown): EgressError {
  if (error instanceof EgressError) return error;
  const code = String((error as { code?: unknown } | null)?.code ?? "");
  if (phase === "tls" && CERTIFICATE_CODES.test(code)) {
    return new EgressError("CERTIFICATE_REJECTED", `certificate rejected: ${code}`, error);
  }
  if (phase === "tls" && code === NO_PROTOCOL) {
    return new EgressError("VERSION_REFUSED", `refused by the peer: ${code}`, error);
  }
  if (phase === "send" && TLS_ALERT.test(code)) {
    const refused = new EgressError("TLS_FAILED", `refused by the peer: ${code}`, error);
    refused.reached = "sent";
    return refused;
  }
  return new EgressError(BY_PHASE[phase], `${phase} failed${code === "" ? "" : `: ${code}`}`, error);
}

/** How an HTTP/2 stream ended before its response was whole. */
export interface StreamEnd {
  /** Code of the RST_STREAM, whoever sent it, or of the end of the connection (RFC 9113 §7). */
  readonly code: number;
  /** What Node reported for the stream, if anything. */
  readonly error: Error | null;
  /** The peer's GOAWAY says that it has not looked at this stream, nor ever will (RFC 9113 §6.8). */
  readonly aboveGoaway: boolean;
  /** Why the connection as a whole ended, where that is known. */
  readonly connection: EgressError | null;
}

/** RFC 9113 §7, those that mean something of their own here. */
const PROTOCOL_ERROR = 0x1;
const FLOW_CONTROL_ERROR = 0x3;
const FRAME_SIZE_ERROR = 0x6;
const REFUSED_STREAM = 0x7;
const COMPRESSION_ERROR = 0x9;
const ENHANCE_YOUR_CALM = 0xb;
const HTTP_1_1_REQUIRED = 0xd;

/** What `end` means for a call whose response has not begun. */
export function streamFailure({ code, error, aboveGoaway, connection }: StreamEnd): EgressError {
  if (aboveGoaway || code === REFUSED_STREAM) {
    const why = aboveGoaway ? "the connection was going away" : "REFUSED_STREAM";
    return new EgressError("STREAM_REFUSED", why, error ?? undefined);
  }
  // One each: what is noted about the error of one call is not true of the others.
  if (connection !== null) return new EgressError(connection.code, connection.message, connection.cause);
  switch (code) {
    case HTTP_1_1_REQUIRED:
      return new EgressError("VERSION_REFUSED", "HTTP_1_1_REQUIRED", error ?? undefined);
    case PROTOCOL_ERROR:
    case FLOW_CONTROL_ERROR:
    case FRAME_SIZE_ERROR:
    case COMPRESSION_ERROR:
      return new EgressError("UPSTREAM_INVALID", `stream ended with code ${code}`, error ?? undefined);
    case ENHANCE_YOUR_CALM: {
      // The peer asks to be spared, or its head was far larger than what we said we would take: neither gets better by asking again.
      const calm = new EgressError("UPSTREAM_RESET", "ENHANCE_YOUR_CALM", error ?? undefined);
      calm.reached = "final";
      return calm;
    }
    default:
      return new EgressError("UPSTREAM_RESET", `stream ended with code ${code}`, error ?? undefined);
  }
}
