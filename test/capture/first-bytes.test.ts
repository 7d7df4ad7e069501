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
  ["PRI * HTTP/2.0", "other"],
  ["\x16", "other"],
  ["\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "other"],
  ["SSH-2.0-x\r\n", "other"],
  ["constructor /", "other"],
])("%j is %s", (text, spoken) => {
  expect(spokenBy(Buffer.from(text, "latin1"))).toBe(spoken);
});
