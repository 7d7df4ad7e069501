/** Trailer fields of chunked messages (RFC 9112 §7.1.2, RFC 9110 §6.5), between Node's own client and server and byte by byte. */
import { once } from "node:events";
import { createServer, request as httpRequest, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import { field } from "../kit/message.ts";
import { answer, ok, scriptedOrigin, step } from "../kit/origin.ts";
import { get, startProxy } from "../kit/proxy.ts";

const chunkedPost = (authority: string, trailers: string, fields = ""): string =>
  `POST http://${authority}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n${fields}\r\n2\r\nab\r\n0\r\n${trailers}\r\n`;
const chunkedAnswer = (trailers: string, fields = ""): string =>
  `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n${fields}\r\n2\r\nab\r\n0\r\n${trailers}\r\n`;

test("Node's client and server exchange trailers both ways, as if nobody were between them", async () => {
  const server = createServer(async (request, response) => {
    const body = await text(request);
    response.writeHead(200, { trailer: "x-checksum, grpc-status" });
    response.write(`${body} ${request.headers.trailer}`);
    response.addTrailers({ "x-checksum": String(request.trailers["x-sent"]), "grpc-status": "0" });
    response.end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  try {
    await using proxy = await startProxy();
    const outgoing = httpRequest({
      host: "127.0.0.1",
      port: proxy.port,
      method: "POST",
      path: `http://127.0.0.1:${port}/`,
      headers: {
        host: `127.0.0.1:${port}`,
        trailer: "x-sent",
        "transfer-encoding": "chunked",
        te: "trailers",
      },
    });
    outgoing.write("body");
    outgoing.addTrailers({ "x-sent": "sum" });
    outgoing.end();
    const [response] = (await once(outgoing, "response")) as [IncomingMessage];
    expect(await text(response)).toBe("body x-sent");
    expect(response.headers.trailer).toBe("x-checksum, grpc-status");
    expect(response.trailers).toEqual({ "x-checksum": "sum", "grpc-status": "0" });
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

describe("trailers of a request", () => {
  test("arrive in their order and with their case, those that repeat and those that were not announced too", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    const trailers = "X-B: 2\r\nx-a: 1\r\nX-B: 3\r\n";
    await proxy.ask(chunkedPost(origin.authority, trailers));
    expect(origin.requests[0]!.trailers).toBe(trailers);
  });

  test.each([
    "Content-Length: 5",
    "Transfer-Encoding: chunked",
    "Host: evil.test",
    "Connection: close",
    "Authorization: Basic x",
    "Trailer: X-A",
  ])("lose %s, which would change what was understood already", async (forbidden) => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    await proxy.ask(chunkedPost(origin.authority, `X-A: 1\r\n${forbidden}\r\nX-B: 2\r\n`));
    expect(origin.requests[0]!.trailers).toBe("X-A: 1\r\nX-B: 2\r\n");
  });

  test("TE: trailers is passed on as what the proxy itself takes", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy();
    await proxy.ask(get(origin, "/", "TE: trailers\r\nConnection: TE\r\n"));
    expect(field(origin.requests[0]!, "te")).toBe("trailers");
    expect(field(origin.requests[0]!, "connection")).toBe("TE");
  });
});

describe("trailers of a response", () => {
  test("arrive in their order and with their case", async () => {
    const trailers = "Grpc-Status: 0\r\ngrpc-message: fine\r\nX-B: 1\r\nX-B: 2\r\n";
    await using origin = await scriptedOrigin([answer(chunkedAnswer(trailers, "Trailer: Grpc-Status\r\n"))]);
    await using proxy = await startProxy();
    const response = await proxy.get(origin);
    expect([response.trailers, field(response, "trailer")]).toEqual([trailers, "Grpc-Status"]);
  });

  test("arrive behind a body of no bytes at all", async () => {
    const bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nGrpc-Status: 12\r\n\r\n";
    await using origin = await scriptedOrigin([answer(bytes)]);
    await using proxy = await startProxy();
    const response = await proxy.get(origin);
    expect([response.body.length, response.trailers]).toEqual([0, "Grpc-Status: 12\r\n"]);
  });

  test("wait for nothing: they come long after the body, and the body does not wait for them", async () => {
    const { promise: bodyTaken, resolve: takeBody } = Promise.withResolvers<void>();
    await using origin = await scriptedOrigin([
      step(async ({ peer }) => {
        await peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n");
        await bodyTaken;
        await peer.write("0\r\nX-Late: yes\r\n\r\n");
        return true;
      }),
      ok("next"),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(get(origin));
    await client.until("body\r\n");
    takeBody();
    expect(await client.until("\r\n\r\n")).toBe("0\r\nX-Late: yes\r\n\r\n");
    expect((await client.ask(get(origin))).body.toString()).toBe("next");
  });

  test.each(["Content-Length: 5", "Set-Cookie: a=b", "Transfer-Encoding: chunked", "Content-Encoding: gzip"])(
    "lose %s, which nobody may learn behind the body",
    async (forbidden) => {
      await using origin = await scriptedOrigin([answer(chunkedAnswer(`X-A: 1\r\n${forbidden}\r\n`))]);
      await using proxy = await startProxy();
      expect((await proxy.get(origin)).trailers).toBe("X-A: 1\r\n");
    },
  );

  test("reach an application that is not told of the next answer by them", async () => {
    await using origin = await scriptedOrigin([
      answer(chunkedAnswer("X-A: 1\r\nHTTP/1.1 200 OK\r\n")),
      ok("next"),
    ]);
    await using proxy = await startProxy();
    using client = await proxy.client();
    await client.write(get(origin));
    expect(await client.gone()).toBe("reset");
    expect(client.received).not.toContain("HTTP/1.1 200 OK\r\nX-A");
  });
});
