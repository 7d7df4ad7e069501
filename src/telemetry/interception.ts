/**
 * Clients that refused the certificate of the sandbox's own CA, which is what pinning looks like from here.
 *
 * Owns the bound on lines: a client that refuses does so on every try, so each host gets one line and each refusal is counted.
 */
import { field } from "./field.ts";
import { timestamp, withoutUserinfo } from "./record-values.ts";
import { redactText } from "./redact.ts";

/** Hosts that get a line of their own. Overflow: refusals are counted, without a line. About 100 KiB when full. */
export const REFUSED_HOSTS_MAX = 1000;

/** Bytes of a host's name that are remembered and written: the longest name that DNS has (RFC 1035 §2.3.4), escapes included. */
const HOST_BYTES_MAX = 256;

/** What to do, in every such line. */
const REMEDY =
  "let the client trust the CA in ca.pem (NODE_EXTRA_CA_CERTS, SSL_CERT_FILE and their like), or set tls.intercept: false for this destination";

/** One line. The names of the fields are stable across releases, as those of `CallRecord`. */
export interface InterceptionRefusal {
  /** RFC 3339 in UTC. */
  readonly time: string;
  readonly event: "interception_refused";
  /** The platform's id of the invocation that was running. */
  readonly invocation_id: string | undefined;
  readonly host: string;
  /** What the client said, for instance the name of its TLS alert. */
  readonly reason: string;
  readonly remedy: string;
  readonly policy_version: string;
}

/** What only the one who was told knows. */
export interface RefusalContext {
  /** "" when there has been no invocation yet. */
  readonly invocationId: string;
  readonly policyVersion: string;
  /** `Clock.wall()` of the refusal. */
  readonly wallMs: number;
}

/** See the file's header. */
export class InterceptionRefusals {
  readonly #hosts = new Set<string>();
  /** Refusals since the beginning. */
  count = 0;

  /** Counts a refusal; its line when it is the host's first, else `null`. */
  add(host: string, reason: string, context: RefusalContext): InterceptionRefusal | null {
    this.count += 1;
    const name = field(withoutUserinfo(host), HOST_BYTES_MAX);
    if (this.#hosts.has(name) || this.#hosts.size >= REFUSED_HOSTS_MAX) return null;
    this.#hosts.add(name);
    return {
      time: timestamp(context.wallMs),
      event: "interception_refused",
      invocation_id: context.invocationId === "" ? undefined : field(context.invocationId),
      host: name,
      reason: field(redactText(reason)),
      remedy: REMEDY,
      policy_version: context.policyVersion,
    };
  }
}
