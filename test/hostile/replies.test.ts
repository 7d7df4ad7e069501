/** What the proxy says of itself when something fails: one static sentence, and nothing of the exchange. */
import { describe, expect, test } from "vitest";
import { ERROR_CODES, type ErrorCode } from "../../src/errors.ts";
import { field, type ResponseMessage } from "../kit/message.ts";
import { answer, ok, reset, scriptedOrigin } from "../kit/origin.ts";
import { get, startProxy, type TestProxy } from "../kit/proxy.ts";

const CANARY = "canary-5e1f";

/** What may stand in a refusal: nothing else. */
function expectStatic(response: ResponseMessage, code: ErrorCode): void {
  const { status, stage, meaning } = ERROR_CODES[code];
  expect(response.status).toBe(status);
  expect(field(response, "outrider-error")).toBe(code);
  expect(field(response, "cache-control")).toBe("no-store");
  expect(field(response, "content-type")).toBe("text/plain; charset=utf-8");
  const id = / \[[A-Z_]+ ([0-9a-z]+-[0-9a-z]+)\]\n$/.exec(response.body.toString())?.[1];
  expect(response.body.toString()).toBe(`outrider: ${stage}: ${meaning} [${code} ${id}]\n`);
  expect(response.head + response.body.toString()).not.toMatch(
    /canary|127\.0\.0\.1|\.test|\bat \S+:\d+:\d+|(?<!Outrider-)Error:|ECONN|node:/,
  );
}

const SECRETS = `Authorization: Bearer ${CANARY}\r\nCookie: ${CANARY}=1\r\nX-Amz-Security-Token: ${CANARY}\r\n`;

async function refusedConnection(proxy: TestProxy): Promise<ResponseMessage> {
  const gone = await scriptedOrigin([ok()]);
  const request = get(gone, `/${CANARY}?token=${CANARY}`, SECRETS);
  await gone[Symbol.asyncDispose]();
  return proxy.ask(request);
}

describe("S14: the body of an error is static text and the call's id:", () => {
  test("CONNECT_FAILED", async () => {
    await using proxy = await startProxy();
    expectStatic(await refusedConnection(proxy), "CONNECT_FAILED");
  });

  test("DNS_FAILED", async () => {
    await using proxy = await startProxy({
      lookup: () => Promise.reject(Object.assign(new Error(`getaddrinfo ${CANARY}`), { code: "ENOTFOUND" })),
    });
    const response = await proxy.ask(`GET http://${CANARY}.test/ HTTP/1.1\r\nHost: x\r\n${SECRETS}\r\n`);
    expectStatic(response, "DNS_FAILED");
  });

  test("ADDRESS_DENIED", async () => {
    await using proxy = await startProxy();
    const response = await proxy.ask(`GET http://169.254.169.254/${CANARY} HTTP/1.1\r\nHost: x\r\n\r\n`);
    expectStatic(response, "ADDRESS_DENIED");
  });

  test("DENIED", async () => {
    await using proxy = await startProxy({
      policy: { destinations: [{ name: CANARY, hosts: ["closed.test"], access: "deny" }] },
    });
    const response = await proxy.ask(`GET http://closed.test/${CANARY} HTTP/1.1\r\nHost: x\r\n\r\n`);
    expectStatic(response, "DENIED");
  });

  test.each<[ErrorCode, string]>([
    ["UPSTREAM_INVALID", `HTTP/1.1 200 OK\r\nX-${CANARY} : 1\r\n\r\n`],
    ["UPSTREAM_INVALID", `${CANARY}\r\n\r\n`],
    ["UPSTREAM_INVALID", `HTTP/1.1 200 OK\r\nX: ${CANARY.repeat(4000)}\r\n\r\n`],
  ])("%s", async (code, bytes) => {
    await using origin = await scriptedOrigin([answer(bytes)]);
    await using proxy = await startProxy();
    expectStatic(await proxy.ask(get(origin, `/${CANARY}`, SECRETS)), code);
  });

  test("UPSTREAM_RESET", async () => {
    await using origin = await scriptedOrigin([reset()]);
    await using proxy = await startProxy();
    expectStatic(await proxy.ask(get(origin, `/${CANARY}`, SECRETS)), "UPSTREAM_RESET");
  });

  test.each<[ErrorCode, string]>([
    ["BAD_REQUEST", `GET http://${CANARY}.test/ HTTP/1.1\r\nX ${CANARY}: y\r\n\r\n`],
    ["BAD_TARGET", `GET /${CANARY} HTTP/1.1\r\nHost: ${CANARY}.test\r\n\r\n`],
    ["VERSION_UNSUPPORTED", `GET http://${CANARY}.test/ HTTP/1.2\r\n\r\n`],
    ["TARGET_TOO_LONG", `GET http://${CANARY}.test/${"x".repeat(9000)} HTTP/1.1\r\nHost: x\r\n\r\n`],
    ["HEAD_TOO_LARGE", `GET http://${CANARY}.test/ HTTP/1.1\r\n${`X: ${CANARY}\r\n`.repeat(200)}\r\n`],
    ["EXPECTATION_FAILED", `GET http://${CANARY}.test/ HTTP/1.1\r\nHost: x\r\nExpect: ${CANARY}\r\n\r\n`],
    [
      "CODING_UNSUPPORTED",
      `POST http://${CANARY}.test/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n`,
    ],
  ])("%s", async (code, request) => {
    await using proxy = await startProxy();
    expectStatic(await proxy.ask(request), code);
  });
});

test("S14: every meaning is a sentence without a place for data", () => {
  for (const { meaning, stage } of Object.values(ERROR_CODES)) {
    expect(meaning).toMatch(/^[A-Z][\x20-\x7e]*\.$/);
    expect(stage).toMatch(/^[a-z ]+$/);
    expect(meaning).not.toMatch(/[{}$%]/);
  }
});
