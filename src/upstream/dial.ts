/** Opens one connection: resolve, vet, connect, TLS. Each step has its own bound and its own error. */
import { connect, type OnReadOpts, type Socket } from "node:net";
import type { Clock } from "../clock.ts";
import type { RoutePolicy } from "../config/types.ts";
import { EgressError } from "../errors.ts";
import type { AttemptFacts, EgressRequest } from "../exchange.ts";
import { connectionFailure } from "./failure.ts";
import type { Address, Resolver, VetAddress } from "./resolve.ts";
import type { TlsClient } from "./tls.ts";

/** Where and how to dial. */
export interface DialTarget {
  /** What is resolved and dialled. */
  readonly host: string;
  readonly port: number;
  /** What TLS verifies; the logical host of the call. */
  readonly name: string;
  /** `null`: plain. */
  readonly tls: TlsClient | null;
  /** Protocols that TLS offers (ALPN), in the order of preference; none: nothing is offered. */
  readonly alpn: readonly string[];
  readonly timeouts: Pick<RoutePolicy, "dnsTimeoutMs" | "connectTimeoutMs" | "tlsTimeoutMs">;
  readonly vet: VetAddress;
}

/** The steps of an attempt that a dial takes. */
export type DialFacts = Pick<AttemptFacts, "resolvedMs" | "connectedMs" | "securedMs" | "address" | "error">;

/** Whatever waits for a connection, and may stop to. */
export type Cancellable = Pick<EgressRequest, "cancelled">;

/**
 * A connected (and, with `tls`, verified) socket. `onread` as in `net.connect`; without it the socket is an ordinary stream.
 * The request's cancellation ends the attempt at once.
 * @throws EgressError DNS_*, ADDRESS_DENIED, CONNECT_*, TLS_*, CERTIFICATE_REJECTED, or the reason of the cancellation
 */
export async function dial(
  target: DialTarget,
  request: Cancellable,
  facts: DialFacts,
  resolver: Resolver,
  clock: Clock,
  onread?: OnReadOpts,
): Promise<Socket> {
  const addresses = await untilCancelled(
    request,
    resolver.resolve(target.host, target.port, target.timeouts.dnsTimeoutMs, target.vet),
  );
  facts.resolvedMs = clock.now();
  let failure: EgressError | null = null;
  for (const address of addresses) {
    if (request.cancelled.value !== undefined) throw request.cancelled.value;
    try {
      const socket = await open(target, address, request, facts, clock, onread);
      facts.address = address.address;
      return socket;
    } catch (error) {
      failure = error as EgressError;
      // Another address of the same name cannot help against a bad certificate, a cancellation or a used-up deadline.
      if (failure.code !== "CONNECT_FAILED" && failure.code !== "CONNECT_TIMEOUT") throw failure;
    }
  }
  throw failure ?? new EgressError("DNS_FAILED", `${target.host} has no address`);
}

/** A look-up cannot be called back, but a call that was cancelled need not wait for it. */
function untilCancelled<T>({ cancelled }: Cancellable, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    cancelled.on(reject);
    work.then(resolve, reject).finally(() => cancelled.off(reject));
  });
}

function open(
  target: DialTarget,
  address: Address,
  request: Cancellable,
  facts: DialFacts,
  clock: Clock,
  onread: OnReadOpts | undefined,
): Promise<Socket> {
  const { connectTimeoutMs, tlsTimeoutMs } = target.timeouts;
  return new Promise((resolve, reject) => {
    const socket: Socket =
      target.tls === null
        ? connect({
            host: address.address,
            port: target.port,
            noDelay: true,
            ...(onread === undefined ? {} : { onread }),
          })
        : target.tls.connect(address, target.port, target.name, target.alpn, onread);
    let phase: "connect" | "tls" = "connect";
    const fail = (error: EgressError): void => {
      settle();
      // Late errors of a socket that nobody waits for must not end the process.
      socket.on("error", () => {});
      socket.destroy();
      reject(error);
    };
    const settle = (): void => {
      timer.cancel();
      request.cancelled.off(fail);
      socket.off("error", onError);
      socket.off("close", onClose);
    };
    const onError = (error: Error): void => fail(connectionFailure(phase, error));
    const onClose = (): void => fail(connectionFailure(phase, new Error("closed")));
    const ready = (): void => {
      settle();
      // Until whoever gets it listens: an error of a socket without a listener would end the process.
      socket.on("error", () => {});
      resolve(socket);
    };
    let timer = clock.after(connectTimeoutMs, () =>
      fail(new EgressError("CONNECT_TIMEOUT", `${connectTimeoutMs} ms`)),
    );
    socket.on("error", onError);
    socket.on("close", onClose);
    socket.once("connect", () => {
      facts.connectedMs = clock.now();
      if (target.tls === null) return ready();
      phase = "tls";
      socket.setNoDelay(true);
      timer.cancel();
      timer = clock.after(tlsTimeoutMs, () => fail(new EgressError("TLS_TIMEOUT", `${tlsTimeoutMs} ms`)));
    });
    socket.once("secureConnect", () => {
      facts.securedMs = clock.now();
      ready();
    });
    request.cancelled.on(fail);
  });
}
