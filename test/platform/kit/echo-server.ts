/**
 * A server for tests in a process of its own: answers each request with its method, path, Host and trace. Usage: ADDRESS PORT…, of
 * which 443 speaks TLS. Says "ready" when all ports listen.
 */
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { certificate } from "../../kit/certificates.ts";

const answer: RequestListener = ({ method, url, headers }, response) => {
  response.end(`${method} ${url} ${headers.host} ${headers.traceparent ?? "no trace"}\n`);
};

const [address, ...ports] = process.argv.slice(2);
for (const port of ports.map(Number)) {
  const server = port === 443 ? createTlsServer(certificate("server"), answer) : createServer(answer);
  await once(server.listen(port, address), "listening");
}
process.stdout.write("ready\n");
