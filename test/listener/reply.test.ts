/** The bytes of a refusal, for every code. */
import { STATUS_CODES } from "node:http";
import { describe, expect, test } from "vitest";
import { EgressError, ERROR_CODES, type ErrorCode } from "../../src/errors.ts";
import { writeRefusal } from "../../src/listener/reply.ts";

const codes = (Object.keys(ERROR_CODES) as ErrorCode[]).filter((code) => ERROR_CODES[code].status !== 0);

describe("a refusal", () => {
  test.each(codes)("with %s is a whole and valid message that tells nothing of the exchange", (code) => {
    const { status, stage, meaning } = ERROR_CODES[code];
    const error = new EgressError(code, "10.0.0.1 said canary", new Error("canary at /srv/app.js:1:1"));
    const bytes = writeRefusal(error, "k3-1f", true, false);
    const [head, body] = bytes.split("\r\n\r\n");
    // Node's table of the IANA registry knows every status that we use.
    expect(head!.split("\r\n")[0]).toBe(`HTTP/1.1 ${status} ${STATUS_CODES[status]}`);
    expect(body).toBe(`outrider: ${stage}: ${meaning} [${code} k3-1f]\n`);
    expect(head).toContain(`\r\nContent-Length: ${Buffer.byteLength(body!)}`);
    expect(head).toContain(`\r\nOutrider-Error: ${code}\r\n`);
    expect(bytes).not.toMatch(/canary|10\.0\.0\.1|[^\x20-\x7e\r\n]/);
  });

  const denied = new EgressError("DENIED", "x");

  test("says when it is the last answer of its connection, and only then", () => {
    expect(writeRefusal(denied, "a", false, false)).toContain("\r\nConnection: close\r\n");
    expect(writeRefusal(denied, "a", true, false)).not.toContain("Connection:");
  });

  test("to HEAD states the length and leaves the body out", () => {
    const whole = writeRefusal(denied, "a", true, false);
    expect(writeRefusal(denied, "a", true, true)).toBe(whole.slice(0, whole.indexOf("\r\n\r\n") + 4));
  });

  test("carries the fields that its stage gives it", () => {
    const limited = new EgressError("RATE_LIMITED", "x");
    limited.replyFields = "Retry-After: 7\r\n";
    expect(writeRefusal(limited, "a", true, false)).toContain("\r\nRetry-After: 7\r\n");
  });
});
