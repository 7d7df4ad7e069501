/** The extension's client of the sandbox's APIs, against a server that hangs up at every point where it can. */
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ApiClient } from "../../adapters/lambda/api.ts";

const ANSWER = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

let server: Server;
let sockets: Socket[] = [];
let serve: (socket: Socket) => void;
beforeEach(async () => {
  sockets = [];
  server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    socket.on("data", () => serve(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  server.close();
});

const client = (): ApiClient => new ApiClient(`127.0.0.1:${(server.address() as { port: number }).port}`);

test("a connection that the API closed between two calls is replaced", async () => {
  serve = (socket) => void socket.end(ANSWER);
  const api = client();
  expect((await api.call("GET", "/one", "", "")).text).toBe("{}");
  // The client leaves too, which it can only do when it has seen the end.
  await once(sockets[0]!, "end");
  expect((await api.call("GET", "/two", "", "")).text).toBe("{}");
  expect(sockets).toHaveLength(2);
});

test("a call fails when the API ends the connection without an answer", async () => {
  serve = (socket) => void socket.end();
  await expect(client().call("GET", "/next", "", "")).rejects.toThrow("the API closed the connection");
});

test("a call fails when the API ends the connection in the middle of an answer", async () => {
  serve = (socket) => void socket.end(ANSWER.slice(0, -1));
  await expect(client().call("GET", "/next", "", "")).rejects.toThrow("the API closed the connection");
});

test("one connection serves call after call while the API keeps it", async () => {
  serve = (socket) => void socket.write(ANSWER);
  const api = client();
  for (const path of ["/one", "/two", "/three"]) {
    expect((await api.call("POST", path, "", "{}")).status).toBe(200);
  }
  expect(sockets).toHaveLength(1);
});
