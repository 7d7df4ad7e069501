import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { Body } from "../../src/body.ts";
import { systemClock } from "../../src/clock.ts";
import { EgressResponse, type Outcome } from "../../src/exchange.ts";
import type { ConnectionContext } from "../../src/listener/context.ts";
import { Http2Connection } from "../../src/listener/http2-connection.ts";
import { eventually } from "../kit/eventually.ts";
import {
  connectedSocket,
  FrameClient,
  frameClient,
  getList,
  headerBlock,
  postList,
} from "../kit/http2-client.ts";
import { FRAME, frame } from "../kit/http2-origin.ts";
import { testConfig } from "../kit/proxy.ts";

/** A listener that does nothing but serve HTTP/2; each call is answered by `send`. */
class Front {
  readonly connections: Http2Connection[] = [];
  readonly outcomes: Outcome[] = [];
  closed = 0;
  readonly context: ConnectionContext;
  readonly #server: Server;

  constructor(send: ConnectionContext["send"], served: (connection: Http2Connection) => void = () => {}) {
    let calls = 0;
    this.context = {
      limits: testConfig().limits,
      idleTimeoutMs: 0,
      clock: systemClock,
      admits: () => true,
      interception: null,
      nextCallId: () => `c-${++calls}`,
      draining: false,
      overloaded: false,
      tunnels: 0,
      send: (request) => {
        request.settled.on((outcome) => this.outcomes.push(outcome));
        return send(request);
      },
    };
    this.#server = createServer({ allowHalfOpen: true }, (socket) => {
      // As a listener does it: what was read to see what is spoken is read again.
      socket.once("data", (bytes) => {
        socket.pause();
        socket.unshift(bytes);
        this.#serve(socket, served);
      });
    });
  }

  #serve(socket: Socket, served: (connection: Http2Connection) => void): void {
    const role = { kind: "local", destination: "d", scheme: "http", host: "up.test", port: 80 } as const;
    const connection = new Http2Connection(socket, role, this.context, () => void (this.closed += 1));
    this.connections.push(connection);
    served(connection);
  }

  async listen(): Promise<number> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return (this.#server.address() as { port: number }).port;
  }

  close(): void {
    for (const connection of this.connections) connection.destroy();
    this.#server.close();
  }
}

let front: Front | null = null;
afterEach(() => front?.close());

async function started(...how: ConstructorParameters<typeof Front>): Promise<number> {
  front = new Front(...how);
  return front.listen();
}

const fine = async (): Promise<EgressResponse> => new EgressResponse(200, "OK", "", Body.of("fine"));

/** A preface, SETTINGS and a request in one piece. */
const OPENING = Buffer.concat([
  Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  frame(FRAME.settings, 0, 0, Buffer.from([0, 1, 0, 0, 0, 0])),
  frame(FRAME.headers, 5, 1, headerBlock(getList("a.test"))),
]);

describe("an HTTP/2 connection", () => {
  test("serves what came with the preface", async () => {
    const port = await started(fine);
    using client = new FrameClient(await connectedSocket(port));
    await client.write(OPENING);
    expect(await client.fate(1)).toBe("200");
  });

  test("that is told to end as it begins answers what came with the preface, and ends", async () => {
    const port = await started(fine, (connection) => {
      front!.context.draining = true;
      connection.endIfIdle();
    });
    using client = new FrameClient(await connectedSocket(port));
    await client.write(OPENING);
    expect(await client.fate(1)).toBe("503");
    await client.until("the end", () => client.closed);
    expect(client.goaway).toBe(0);
  });

  test("is busy while a call is, and closed once", async () => {
    const { promise, resolve } = Promise.withResolvers<EgressResponse>();
    const port = await started(() => promise);
    using client = await frameClient(port);
    await client.headers(1, getList("a.test"));
    await eventually("a call", () => front!.connections[0]?.busy === true);
    resolve(await fine());
    expect(await client.fate(1)).toBe("200");
    await eventually("its end", () => !front!.connections[0]!.busy);
    client.socket.end();
    await eventually("the close", () => front!.closed > 0);
    expect(front!.closed).toBe(1);
  });

  test("settles each call once, with what became of it", async () => {
    const port = await started(async (request) => {
      if (request.path === "/defect") throw new TypeError("a defect");
      if (request.path === "/silence") return new Promise(() => {});
      return fine();
    });
    using client = await frameClient(port);
    await client.headers(1, getList("a.test", "/fine"));
    expect(await client.fate(1)).toBe("200");
    await client.headers(3, getList("a.test", "/defect"));
    expect(await client.fate(3)).toBe("500");
    await client.headers(5, postList("a.test", "/silence"), false);
    await client.write(frame(FRAME.rst, 0, 5, Buffer.from([0, 0, 0, 8])));
    await eventually("three outcomes", () => front!.outcomes.length === 3);
    expect(front!.outcomes.map(({ error }) => error?.code ?? "none")).toEqual([
      "none",
      "INTERNAL",
      "CLIENT_GONE",
    ]);
    await client.headers(7, getList("a.test", "/fine"));
    expect(await client.fate(7)).toBe("200");
    expect(front!.outcomes.length).toBe(4);
  });

  test("lets go of an answer that comes for a call that is gone", async () => {
    const { promise, resolve } = Promise.withResolvers<EgressResponse>();
    let cancelled = "";
    const port = await started(() => promise);
    using client = await frameClient(port);
    await client.headers(1, getList("a.test"));
    await eventually("a call", () => front!.connections[0]?.busy === true);
    client.socket.destroy();
    await eventually("its end", () => front!.outcomes.length === 1);
    const source = {
      pause() {},
      resume() {},
      cancel: (error: { code: string }) => void (cancelled = error.code),
    };
    resolve(new EgressResponse(200, "OK", "", new Body(null, source)));
    await eventually("the cancellation", () => cancelled !== "");
    expect(cancelled).toBe("CLIENT_GONE");
  });
});
