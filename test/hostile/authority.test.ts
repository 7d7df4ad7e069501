/** Requests that name two hosts, or one that two programs read differently: whoever is asked, it must be the one that was judged. */
import { describe, expect, test } from "vitest";
import { field } from "../kit/message.ts";
import { ok, scriptedOrigin } from "../kit/origin.ts";
import { startProxy } from "../kit/proxy.ts";

/** The port of the origin, in the requests below. */
const PORT = "{port}";

describe("S3: refused, and sent to nobody:", () => {
  test.each([
    ["a user in the authority", `GET http://user@127.0.0.1:${PORT}/ HTTP/1.1\r\nHost: a\r\n\r\n`],
    [
      "another host as the user",
      `GET http://good.test@127.0.0.1:${PORT}/ HTTP/1.1\r\nHost: good.test\r\n\r\n`,
    ],
    ["a user and a password", `GET http://a:b@127.0.0.1:${PORT}/ HTTP/1.1\r\nHost: a\r\n\r\n`],
    ["a backslash", `GET http://127.0.0.1:${PORT}\\@good.test/ HTTP/1.1\r\nHost: a\r\n\r\n`],
    ["an encoded host", `GET http://127%2e0.0.1:${PORT}/ HTTP/1.1\r\nHost: a\r\n\r\n`],
    ["an encoded colon", `GET http://127.0.0.1%3a${PORT}/ HTTP/1.1\r\nHost: a\r\n\r\n`],
    ["a NUL in the host", `GET http://127.0.0.1\0:${PORT}/ HTTP/1.1\r\nHost: a\r\n\r\n`],
    ["a tab in the host", `GET http://127.0.0.1\t:${PORT}/ HTTP/1.1\r\nHost: a\r\n\r\n`],
    ["a fragment", `GET http://127.0.0.1:${PORT}#@good.test/ HTTP/1.1\r\nHost: a\r\n\r\n`],
    ["full-width digits", `GET http://\uff11\uff12\uff17.0.0.1:${PORT}/ HTTP/1.1\r\nHost: a\r\n\r\n`],
    ["an address in octal", `CONNECT 0177.0.0.1:${PORT} HTTP/1.1\r\nHost: a\r\n\r\n`],
    ["IPv4 in brackets", `GET http://[127.0.0.1]:${PORT}/ HTTP/1.1\r\nHost: a\r\n\r\n`],
    ["a zone", `GET http://[::1%25lo]:${PORT}/ HTTP/1.1\r\nHost: a\r\n\r\n`],
    ["a comma", `GET http://127.0.0.1,good.test:${PORT}/ HTTP/1.1\r\nHost: a\r\n\r\n`],
    ["two ports", `GET http://127.0.0.1:${PORT}:${PORT}/ HTTP/1.1\r\nHost: a\r\n\r\n`],
    ["port 0", "GET http://127.0.0.1:0/ HTTP/1.1\r\nHost: a\r\n\r\n"],
    ["a port beyond 65535", "GET http://127.0.0.1:65536/ HTTP/1.1\r\nHost: a\r\n\r\n"],
    ["a port that wraps around", `CONNECT 127.0.0.1:{wrapped} HTTP/1.1\r\nHost: a\r\n\r\n`],
    ["no slashes", `GET http:127.0.0.1:${PORT}/ HTTP/1.1\r\nHost: a\r\n\r\n`],
    ["another scheme", `GET ftp://127.0.0.1:${PORT}/ HTTP/1.1\r\nHost: a\r\n\r\n`],
    ["no scheme", `GET //127.0.0.1:${PORT}/ HTTP/1.1\r\nHost: 127.0.0.1:${PORT}\r\n\r\n`],
    ["origin form on the proxy's port", `GET / HTTP/1.1\r\nHost: 127.0.0.1:${PORT}\r\n\r\n`],
    ["an asterisk on the proxy's port", `OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1:${PORT}\r\n\r\n`],
    ["no Host", `GET http://127.0.0.1:${PORT}/ HTTP/1.1\r\n\r\n`],
    ["two Hosts", `GET http://127.0.0.1:${PORT}/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n`],
    ["the same Host twice", `GET http://127.0.0.1:${PORT}/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n`],
    ["a list as Host", `GET http://127.0.0.1:${PORT}/ HTTP/1.1\r\nHost: a, b\r\n\r\n`],
    ["a blank in Host", `GET http://127.0.0.1:${PORT}/ HTTP/1.1\r\nHost: a b\r\n\r\n`],
    ["a user in Host", `GET http://127.0.0.1:${PORT}/ HTTP/1.1\r\nHost: a@b\r\n\r\n`],
    ["a path in Host", `GET http://127.0.0.1:${PORT}/ HTTP/1.1\r\nHost: a/b\r\n\r\n`],
    ["a folded Host", `GET http://127.0.0.1:${PORT}/ HTTP/1.1\r\nHost:\r\n a\r\n\r\n`],
    ["a blank before Host's colon", `GET http://127.0.0.1:${PORT}/ HTTP/1.1\r\nHost : a\r\n\r\n`],
    ["CONNECT with a path", `CONNECT 127.0.0.1:${PORT}/x HTTP/1.1\r\nHost: a\r\n\r\n`],
    ["CONNECT with a scheme", `CONNECT http://127.0.0.1:${PORT} HTTP/1.1\r\nHost: a\r\n\r\n`],
    ["CONNECT with a user", `CONNECT a@127.0.0.1:${PORT} HTTP/1.1\r\nHost: a\r\n\r\n`],
    ["CONNECT without a port", "CONNECT 127.0.0.1 HTTP/1.1\r\nHost: a\r\n\r\n"],
    ["CONNECT with a body", `CONNECT 127.0.0.1:${PORT} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc`],
  ])("%s", async (_, request) => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(
      request.replaceAll(PORT, String(origin.port)).replace("{wrapped}", String(origin.port + 65_536)),
    );
    const response = await client.response();
    expect(response.status).toBe(400);
    expect(field(response, "outrider-error")).toMatch(/^BAD_(?:REQUEST|TARGET)$/);
    expect(field(response, "connection")).toBe("close");
    expect(origin.connections).toHaveLength(0);
  });
});

describe("S3: the target wins over Host:", () => {
  test.each(["evil.test", "evil.test:1", "[::1]"])("%s is replaced", async (host) => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    await proxy.ask(`GET http://${origin.authority}/ HTTP/1.1\r\nX: y\r\nHost: ${host}\r\n\r\n`);
    // What the proxy adds on the way to loopback is its own: docs/access.md, "Loops".
    const received = origin.received.replace(/^Outrider-Instance: .*\r\n/m, "");
    expect(received).toBe(`GET / HTTP/1.1\r\nHost: ${origin.authority}\r\nX: y\r\n\r\n`);
  });

  test("an address that hides in the path stays in the path", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    const path = "/http://169.254.169.254/%2e%2e/@evil.test:80?u=//evil.test";
    await proxy.get(origin, path);
    expect(origin.requests[0]!.startLine).toBe(`GET ${path} HTTP/1.1`);
  });
});
