/** The application's side of a connection, byte by byte. */
import { connect } from "node:net";
import { type ResponseMessage, readResponse } from "./message.ts";
import { Peer } from "./peer.ts";

/** A connection to the proxy (or anything else) on loopback. Half-open: it stays readable after `halfClose`. */
export function rawClient(port: number, host = "127.0.0.1"): Promise<Client> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host, noDelay: true, allowHalfOpen: true });
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      resolve(new Client(socket));
    });
  });
}

/** A `Peer` that asks. */
export class Client extends Peer {
  /** The final response; `method` says whether it has a body. */
  response(method = "GET"): Promise<ResponseMessage> {
    return readResponse(this, method);
  }

  /** The next response, interim ones included. */
  anyResponse(method = "GET"): Promise<ResponseMessage> {
    return readResponse(this, method, true);
  }

  /** Writes `request` and reads its final response. */
  async ask(request: string): Promise<ResponseMessage> {
    const [answer] = await Promise.all([
      this.response(request.slice(0, request.indexOf(" "))),
      this.write(request),
    ]);
    return answer;
  }

  [Symbol.dispose](): void {
    this.destroy();
  }
}

/** Connects, asks once, closes. */
export async function askOnce(port: number, request: string): Promise<ResponseMessage> {
  using client = await rawClient(port);
  return await client.ask(request);
}
