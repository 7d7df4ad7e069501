import { expect, test } from "vitest";
import { spokenBy } from "../../src/capture/first-bytes.ts";

test.each([
  ["GET / HTTP/1.1\r\n", "http"],
  ["GET ", "http"],
  ["UNSUBSCRIBE ", "http"],
  ["M-SEARCH *", "http"],
  ["", "unknown"],
  ["G", "unknown"],
  ["UNSUBSCRIBE", "unknown"],
  ["UNSUBSCRIBEX", "other"],
  ["FOO /", "other"],
  ["get /", "other"],
  [" GET /", "other"],
  ["\r\nGET /", "other"],
  ["PR", "unknown"],
  ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r", "unknown"],
  ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "h2"],
  ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0", "h2"],
  ["PRI * HTTP/1.1\r\n", "other"],
  ["PRI / ", "other"],
  ["\x16", "unknown"],
  ["\x16\x03", "tls"],
  ["\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "tls"],
  ["\x16\x02", "other"],
  ["\x05", "other"],
  ["\x05\x01\x00", "other"],
  ["\x04\x01", "other"],
  ["\0\0\0\x08\x04\xd2\x16\x2f", "other"],
  ["*1\r\n$4\r\nPING\r\n", "other"],
  ["SSH-2.0-x\r\n", "other"],
  ["constructor /", "other"],
])("%j is %s", (text, spoken) => {
  expect(spokenBy(Buffer.from(text, "latin1"))).toBe(spoken);
  // What is certain stays so.
  if (spoken !== "unknown") expect(spokenBy(Buffer.from(`${text}x`, "latin1"))).toBe(spoken);
});
