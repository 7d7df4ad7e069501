/**
 * The least that an extension written in Node can do: bind a port, register by a request of fixed text over
 * `node:net`, and wait for the first event. The address is in AWS_LAMBDA_RUNTIME_API.
 */

import { connect, createServer } from "node:net";

const api = process.env.AWS_LAMBDA_RUNTIME_API!;
const [host, port] = api.split(":");
const body = '{"events":["INVOKE","SHUTDOWN"]}';

createServer().listen(0, "127.0.0.1", () => {
  const socket = connect(Number(port), host!);
  socket.write(
    `POST /2020-01-01/extension/register HTTP/1.1\r\nHost: ${api}\r\nLambda-Extension-Name: net-only\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  socket.once("data", (answer) => {
    const identifier = /lambda-extension-identifier: (\S+)/i.exec(answer.toString("latin1"))?.[1];
    socket.write(
      `GET /2020-01-01/extension/event/next HTTP/1.1\r\nHost: ${api}\r\nLambda-Extension-Identifier: ${identifier}\r\n\r\n`,
    );
  });
});
