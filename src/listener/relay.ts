/**
 * One connection to the port of a destination with `protocol: tcp`: no byte of it is understood. It is a tunnel that nobody asked for
 * in words, and goes through the policies as one; what the application sends before the upstream is there waits here. The
 * application cannot be told of a failure: its connection is reset, and the record says why.
 */
import type { Socket } from "node:net";
import type { ListenerRole } from "../capture/target.ts";
import { asEgressError, EgressError } from "../errors.ts";
import { EgressRequest, type EgressResponse } from "../exchange.ts";
import { adopt } from "./adopt.ts";
import type { ConnectionContext, ConnectionHome, ServedConnection } from "./context.ts";
import { reset } from "./reset.ts";
import type { Splice, SpliceResult } from "./splice.ts";
import { joinTunnel } from "./tunnel.ts";

type TcpRole = Extract<ListenerRole, { readonly kind: "tcp" }>;

/** See the file's header. */
export class RelayConnection implements ServedConnection {
  readonly #socket: Socket;
  readonly #context: ConnectionContext;
  readonly #home: ConnectionHome;
  readonly #request: EgressRequest;
  /** What came before the upstream was there. Bounded by `limits.exchangeBufferBytes` and one read; reading pauses then. */
  #early: Buffer[] = [];
  #earlyBytes = 0;
  #splice: Splice | null = null;
  /** Counted in `context.tunnels`. */
  #holdsTunnel = false;

  constructor(accepted: Socket, role: TcpRole, context: ConnectionContext, home: ConnectionHome) {
    this.#socket = adopt(accepted, context.limits.exchangeBufferBytes, (bytes) => this.#receive(bytes));
    this.#context = context;
    this.#home = home;
    this.#request = tunnelRequest(role, context);
    // The close that follows tells all there is to tell.
    this.#socket.on("error", () => {});
    this.#socket.on("close", this.#onClose);
    this.#open()
      .then((response) => this.#join(response))
      .catch((error) => this.#fail(asEgressError(error)));
    this.#socket.resume();
  }

  /** Whether nothing is under way cannot be seen from outside: it is until both sides have ended. */
  get busy(): boolean {
    return this.#request.settled.value === undefined;
  }

  get bufferedBytes(): number {
    return this.#earlyBytes + (this.#splice === null ? 0 : this.#splice.bufferedBytes);
  }

  endIfIdle(): void {}

  destroy(): void {
    reset(this.#socket);
  }

  sweep(nowMs: number): void {
    this.#splice?.sweep(nowMs, this.#context.limits.tunnelIdleMs);
  }

  /** Bytes came before the upstream was there; they are only lent. */
  #receive(bytes: Buffer): boolean {
    const kept = Buffer.from(bytes);
    this.#early.push(kept);
    this.#earlyBytes += kept.length;
    if (this.#earlyBytes >= this.#context.limits.exchangeBufferBytes) this.#socket.pause();
    return true;
  }

  async #open(): Promise<EgressResponse> {
    const { limits, overloaded, tunnels } = this.#context;
    if (overloaded) throw new EgressError("OVERLOADED", "limits.total_buffer: more than that is waiting");
    if (tunnels >= limits.tunnelsMax) {
      throw new EgressError("OVERLOADED", `limits.tunnels: ${limits.tunnelsMax} are open`);
    }
    this.#context.tunnels += 1;
    this.#holdsTunnel = true;
    return await this.#context.send(this.#request);
  }

  #join({ tunnel, body }: EgressResponse): void {
    if (tunnel === null) {
      const error = new EgressError("INTERNAL", "no tunnel in the answer to CONNECT");
      body.cancel(error);
      throw error;
    }
    if (this.#request.settled.value !== undefined) {
      // The application went away meanwhile.
      tunnel.socket.destroy();
      return;
    }
    const early = this.#earlyBytes === 0 ? null : Buffer.concat(this.#early);
    this.#early = [];
    this.#earlyBytes = 0;
    this.#socket.removeAllListeners("data");
    this.#splice = joinTunnel(this.#socket, "", tunnel, early, this.#onDone);
  }

  #onDone = ({ bytesUp, bytesDown, error }: SpliceResult): void => {
    this.#request.trail.push({ kind: "tunnel", bytesUp, bytesDown });
    this.#settle(error);
  };

  #fail(error: EgressError): void {
    this.#settle(error);
    reset(this.#socket);
  }

  #settle(error: EgressError | null): void {
    if (this.#holdsTunnel) {
      this.#holdsTunnel = false;
      this.#context.tunnels -= 1;
    }
    this.#request.settled.fire({ error });
  }

  #onClose = (): void => {
    if (this.#splice === null && this.busy) {
      const error = new EgressError("CLIENT_GONE", "the application closed its connection");
      this.#request.cancelled.fire(error);
      this.#settle(error);
    }
    this.#home.closed(this);
  };
}

/** The call that the whole connection is. */
function tunnelRequest({ destination, host, port }: TcpRole, context: ConnectionContext): EgressRequest {
  return new EgressRequest({
    id: context.nextCallId(),
    destination,
    method: "CONNECT",
    scheme: "http",
    host,
    port,
    path: `${host.includes(":") ? `[${host}]` : host}:${port}`,
    fields: "",
    startedMs: context.clock.now(),
  });
}
