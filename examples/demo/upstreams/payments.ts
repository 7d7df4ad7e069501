/** The upstream that demands a client certificate of its own CA. */
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { join } from "node:path";
import { noting, type Seen, startUpstream, type Upstream } from "./upstream.ts";

/** Starts it with the certificates in the folder `certs`. What comes without TLS is counted as seen, and cut off. */
export function startPayments(port: number, certs: string): Promise<Upstream> {
  const seen: Seen[] = [];
  const file = (name: string) => readFileSync(join(certs, name));
  const server = createServer(
    {
      cert: file("server.pem"),
      key: file("server.key"),
      ca: file("ca.pem"),
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: "TLSv1.2",
    },
    noting(seen, (_request, response) => void response.end("paid")),
  );
  // Plain HTTP, or no certificate: Node closes the connection without a word.
  server.on("tlsClientError", () => seen.push({ path: "", traceId: "" }));
  return startUpstream(server, port, seen);
}
