/**
 * Names to vetted addresses. Every answer is shown to the guard, and one that is refused refuses the call: a name that answers
 * with a public and a private address is a rebinding attempt, not a choice. The addresses returned are the ones that are dialled.
 */
import { lookup as systemLookup } from "node:dns";
import { isIP } from "node:net";
import type { Clock } from "../clock.ts";
import { EgressError } from "../errors.ts";

/** An address to dial. */
export interface Address {
  readonly address: string;
  readonly family: 4 | 6;
}

/** The name of the rule that forbids dialling `address:port`, or `null`. Pure; handed in by the route room. */
export type VetAddress = (address: string, port: number) => string | null;

/** All addresses of `host`. Rejects with Node's error. */
export type Lookup = (host: string) => Promise<readonly Address[]>;

/** getaddrinfo: honours /etc/hosts and the search domains that platforms set, as the application's own lookups would. */
export const lookupBySystem: Lookup = (host) =>
  new Promise((resolve, reject) => {
    systemLookup(host, { all: true, order: "verbatim" }, (error, found) => {
      if (error !== null) reject(error);
      else resolve(found.map(({ address, family }) => ({ address, family: family === 6 ? 6 : 4 })));
    });
  });

/** Answers beyond these are not tried. */
const ADDRESSES_MAX = 16;

/** Resolves with one lookup per name in flight, whoever asks. */
export class Resolver {
  readonly #lookup: Lookup;
  readonly #clock: Clock;
  readonly #inFlight = new Map<string, Promise<readonly Address[]>>();

  constructor(clock: Clock, lookup: Lookup = lookupBySystem) {
    this.#clock = clock;
    this.#lookup = lookup;
  }

  /**
   * The addresses of `host` in the order to try, all of them accepted by `vet`.
   * @throws EgressError DNS_FAILED, DNS_TIMEOUT, ADDRESS_DENIED
   */
  async resolve(host: string, port: number, timeoutMs: number, vet: VetAddress): Promise<readonly Address[]> {
    const family = isIP(host);
    const found =
      family !== 0
        ? [{ address: host, family: family === 6 ? 6 : 4 } as const]
        : await this.#answers(host, timeoutMs);
    for (const { address } of found) {
      const rule = vet(address, port);
      if (rule !== null) throw new EgressError("ADDRESS_DENIED", `${host} resolves to ${address}: ${rule}`);
    }
    return found.slice(0, ADDRESSES_MAX);
  }

  #answers(host: string, timeoutMs: number): Promise<readonly Address[]> {
    let running = this.#inFlight.get(host);
    if (running === undefined) {
      running = this.#lookup(host).finally(() => this.#inFlight.delete(host));
      this.#inFlight.set(host, running);
    }
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(timeoutMs, () => {
        reject(new EgressError("DNS_TIMEOUT", `${host}: no answer in ${timeoutMs} ms`));
      });
      running.then(
        (found) => {
          timer.cancel();
          if (found.length === 0) reject(new EgressError("DNS_FAILED", `${host} has no address`));
          else resolve(found);
        },
        (error) => {
          timer.cancel();
          reject(new EgressError("DNS_FAILED", `${host}: ${String(error?.code ?? "lookup failed")}`, error));
        },
      );
    });
  }
}
