/**
 * The certificate authority of one sandbox: made at its start, gone with its process. Signs a certificate for each server whose TLS
 * is opened, and keeps the contexts that serve them.
 *
 * Owns the keys, which never leave it, the validity of what is signed, and the cache. Making one costs a P-256 key and a signature;
 * the servers' key and node:tls come with the first connection, so that nothing of them is in the cold tier.
 */
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import type { SecureContext } from "node:tls";
import type { Clock } from "../clock.ts";
import {
  authorityCertificate,
  certificatePem,
  type Issuer,
  keyIdOf,
  serverCertificate,
  type Validity,
} from "./certificate.ts";
import { serverName } from "./server-name.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/**
 * How long an authority is valid where the platform ends sandboxes within hours, as Lambda does. It cannot be renewed under a running
 * application: clients read their trust once, when they start.
 */
export const SANDBOX_VALIDITY_MS = DAY_MS;
/**
 * The same for hosts whose applications run for weeks. The key is in memory only and ends with the process, so what the
 * certificate says is the second bound, and one that must not be met first: every intercepted call would fail from then on.
 */
export const LONG_VALIDITY_MS = 397 * DAY_MS;
/** A clock that is set back by an hour, as a first synchronisation may do, leaves the authority valid. Part of its validity. */
export const AUTHORITY_BACKDATED_MS = 2 * HOUR_MS;

/** A server's certificate is valid for so long, less what is left of the authority. */
const SERVER_VALIDITY_MS = DAY_MS;
/** Clocks of one machine differ by nothing, those of a virtual machine and its containers by little. */
const SERVER_BACKDATED_MS = 5 * MINUTE_MS;
/** A certificate that ends sooner is made anew for the next connection. Connections that stand are not touched. */
const SERVER_RENEWAL_MS = HOUR_MS;
/**
 * Servers whose context is kept, 33 KiB each. Overflow: the one that was not asked for the longest is forgotten, and made anew
 * (0.6 ms) when wanted.
 */
export const CONTEXTS_MAX = 250;

/** See the file's header. */
export interface Authority {
  /** What clients have to trust. PEM. */
  readonly certificatePem: string;
  /** From this wall-clock time on (epoch milliseconds) nothing that was signed is valid. */
  readonly notAfterMs: number;
  /**
   * What a TLS server needs to be `name` (a DNS name in lower case, or an IP address without brackets): its certificate, and TLS 1.2
   * or later. ALPN is the caller's.
   * @throws RangeError when no certificate can be made for such a name
   */
  contextFor(name: string): SecureContext;
}

/** A certificate that is in use. */
interface Served extends Validity {
  readonly context: SecureContext;
}

/** Key and certificate are made at once; see `SANDBOX_VALIDITY_MS` and `LONG_VALIDITY_MS` for `validityMs`. */
export function createAuthority(clock: Clock, validityMs: number = SANDBOX_VALIDITY_MS): Authority {
  return new SandboxAuthority(clock, validityMs);
}

/** Keys are private fields, which neither `util.inspect` nor `JSON.stringify` shows. */
class SandboxAuthority implements Authority {
  readonly certificatePem: string;
  readonly notAfterMs: number;
  readonly #clock: Clock;
  readonly #validity: Validity;
  readonly #issuer: Issuer;
  readonly #served = new Map<string, Served>();
  #serverKeys: ServerKeys | null = null;

  constructor(clock: Clock, validityMs: number) {
    this.#clock = clock;
    const notBeforeMs = wholeSecond(clock.wall() - AUTHORITY_BACKDATED_MS);
    this.#validity = { notBeforeMs, notAfterMs: notBeforeMs + validityMs };
    this.notAfterMs = this.#validity.notAfterMs;
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const keyId = keyIdOf(publicKey);
    // The name is one of its own, so that trust which holds the authority of an earlier life as well is never searched in vain.
    const name = `Outrider sandbox CA ${keyId.toString("hex").slice(0, 8)}`;
    this.#issuer = { name, keyId, privateKey };
    this.certificatePem = certificatePem(authorityCertificate(this.#issuer, publicKey, this.#validity));
  }

  contextFor(name: string): SecureContext {
    const known = this.#served.get(name);
    const served = known === undefined || this.#isStale(known) ? this.#serve(name) : known;
    // Last in the map is last to be forgotten.
    this.#served.delete(name);
    this.#served.set(name, served);
    if (this.#served.size > CONTEXTS_MAX) this.#served.delete(this.#served.keys().next().value!);
    return served.context;
  }

  /** Whether another certificate for the same name would be valid for longer, or is valid at all. */
  #isStale({ notBeforeMs, notAfterMs }: Served): boolean {
    const now = this.#clock.wall();
    if (now < notBeforeMs) return notBeforeMs > this.#validity.notBeforeMs;
    return now > notAfterMs - SERVER_RENEWAL_MS && notAfterMs < this.#validity.notAfterMs;
  }

  #serve(text: string): Served {
    const name = serverName(text);
    const { createSecureContext } = process.getBuiltinModule("node:tls");
    const { publicKey, privatePem } = (this.#serverKeys ??= makeServerKeys());
    const validity = this.#serverValidity();
    const context = createSecureContext({
      cert: certificatePem(serverCertificate(this.#issuer, name, publicKey, validity)),
      key: privatePem,
      minVersion: "TLSv1.2",
      // Clients' certificates are not asked for: without this, each context would hold Node's roots.
      ca: [],
    });
    return { ...validity, context };
  }

  #serverValidity(): Validity {
    const now = wholeSecond(this.#clock.wall());
    const { notBeforeMs, notAfterMs } = this.#validity;
    return {
      notBeforeMs: Math.max(notBeforeMs, now - SERVER_BACKDATED_MS),
      notAfterMs: Math.min(notAfterMs, now + SERVER_VALIDITY_MS),
    };
  }
}

/** The key that all servers' certificates are for: one application is the only one to see them. */
interface ServerKeys {
  readonly publicKey: KeyObject;
  /**
   * `createSecureContext` takes no key objects. Bytes of their own rather than a string, which heap snapshots hold, or a part of
   * Buffer's shared pool.
   */
  readonly privatePem: Buffer;
}

function makeServerKeys(): ServerKeys {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const bytes = new TextEncoder().encode(String(privateKey.export({ type: "pkcs8", format: "pem" })));
  return { publicKey, privatePem: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length) };
}

/** Certificates keep whole seconds; what is remembered has to be what they say. */
const wholeSecond = (epochMs: number): number => Math.floor(epochMs / 1000) * 1000;
