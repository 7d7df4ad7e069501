/** The upstream room by itself: calls of either version sent to loopback, and what comes back of them. */
import { Body } from "../../src/body.ts";
import { type Clock, systemClock } from "../../src/clock.ts";
import type { Limits } from "../../src/config/types.ts";
import { EgressError } from "../../src/errors.ts";
import {
  type AttemptFacts,
  EgressRequest,
  type EgressResponse,
  type RequestParts,
} from "../../src/exchange.ts";
import type { Reach } from "../../src/upstream/reach.ts";
import { type Lookup, Resolver } from "../../src/upstream/resolve.ts";
import { createTlsClient, PLAIN_TLS } from "../../src/upstream/tls.ts";
import { Upstream } from "../../src/upstream/upstream.ts";
import { certificateFile } from "../kit/certificates.ts";
import { testConfig } from "../kit/proxy.ts";

/** A response whose body has been read. */
export interface Received {
  readonly status: number;
  readonly fields: string;
  readonly body: string;
  readonly trailers: string;
  /** Why the body broke off, or `null`. */
  readonly broke: EgressError | null;
}

/** Everything has a default: HTTP/2 by prior knowledge to 127.0.0.1. */
export interface SendingOptions {
  readonly port: number;
  readonly clock?: Clock;
  readonly limits?: Partial<Limits>;
  readonly reach?: Partial<Reach>;
  /** Instead of the system's resolver. */
  readonly lookup?: Lookup;
}

/** Reads the body to its end. */
export function read(response: EgressResponse): Promise<Received> {
  const { status, fields } = response;
  return new Promise((resolve) => {
    let body = "";
    let end = "";
    response.body.pipe({
      write: (chunk) => {
        body += Buffer.from(chunk).toString("latin1");
        return true;
      },
      end: (trailers) => (end = trailers),
      abort: () => {},
    });
    response.body.onEnded((broke) => resolve({ status, fields, body, trailers: end, broke }));
  });
}

/** The error that `sent` ends with; throws when it does not. */
export async function errorOf(sent: Promise<unknown>): Promise<EgressError> {
  try {
    await sent;
  } catch (error) {
    if (error instanceof EgressError) return error;
    throw error;
  }
  throw new Error("there was an answer");
}

/** What happened to the only attempt of `request`. */
export function attemptOf(request: EgressRequest): AttemptFacts {
  const attempts = request.trail.filter((entry) => entry.kind === "attempt");
  if (attempts.length !== 1) throw new Error(`${attempts.length} attempts`);
  return attempts[0]!.attempt;
}

/** A request body that the test pushes; `cancelled` tells whether the upstream wants no more of it. */
export function pushedBody(): { readonly body: Body; readonly cancelled: () => EgressError | null } {
  let reason: EgressError | null = null;
  const body = new Body(null, {
    pause: () => {},
    resume: () => {},
    cancel: (error) => (reason = error),
  });
  return { body, cancelled: () => reason };
}

/** See the file's header. */
export class Sending {
  readonly upstream: Upstream;
  readonly #port: number;
  readonly #send: (request: EgressRequest) => Promise<EgressResponse>;

  constructor({ port, clock = systemClock, limits = {}, reach = {}, lookup }: SendingOptions) {
    this.#port = port;
    const resolver = new Resolver(clock, lookup);
    this.upstream = new Upstream({ limits: { ...testConfig().limits, ...limits }, clock, resolver });
    const tls = createTlsClient("test", { ...PLAIN_TLS, ca: certificateFile("ca"), serverName: "api.test" });
    this.#send = this.upstream.sender({
      address: null,
      originate: false,
      tunnelOverTls: false,
      httpVersion: "auto",
      tls: () => tls,
      policy: { dnsTimeoutMs: 2000, connectTimeoutMs: 20_000, tlsTimeoutMs: 20_000, idleTimeoutMs: 60_000 },
      vet: () => null,
      ...reach,
    });
  }

  /** A GET in HTTP/2, changed by `parts`. */
  request(parts: Partial<RequestParts> = {}): EgressRequest {
    return new EgressRequest({
      method: "GET",
      scheme: "http",
      host: "127.0.0.1",
      port: this.#port,
      path: "/",
      fields: "",
      httpVersion: 2,
      ...parts,
    });
  }

  /** The head of the answer to `request`. */
  head(request: EgressRequest): Promise<EgressResponse> {
    return this.#send(request);
  }

  /** The whole answer. */
  async send(request: EgressRequest = this.request()): Promise<Received> {
    return read(await this.#send(request));
  }

  [Symbol.dispose](): void {
    this.upstream.destroy();
  }
}
