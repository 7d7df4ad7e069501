/**
 * Whether a call may go where it wants to: first by its destination, then by every address that its target resolves to. The rules
 * that come before a destination's word are in `access.ts`.
 *
 * Pure decisions with the name of the rule that decided. Who asks, and what happens on a refusal, is the caller's part; the
 * address is to be asked for again on each connection, since a name may resolve to something else the next time.
 */
import type { Acl, Destination } from "../config/types.ts";
import { type Address, type AddressBlock, inBlock, parseAddress, parseBlock } from "./address.ts";
import { type AddressClass, classOf, embeddedIPv4 } from "./address-class.ts";

/** What the acl says. Of a destination it is constant for a configuration: ask once when that is loaded. */
export interface TargetAdmission {
  readonly allowed: boolean;
  /** What decided: `acl.rules.NAME`, or another key of the policy file with its value. */
  readonly rule: string;
  /** What is to be done: nothing; note `would_deny` in the record and go on; refuse with DENIED. */
  readonly effect: "none" | "report" | "refuse";
}

/** Judges a destination by `access`, the implicit one by `acl.default`; `acl.mode` turns a refusal into a note or into nothing. */
export function admitTarget(acl: Acl, destination: Destination): TargetAdmission {
  const implicit = destination.hosts.length === 0;
  const word = implicit ? acl.default : destination.access;
  const rule = implicit ? `acl.default: ${word}` : `destinations.${destination.name}.access: ${word}`;
  return admissionBy(acl, word, rule);
}

/** What `word`, said by `rule`, comes to under `acl.mode`. */
export function admissionBy(acl: Acl, word: "allow" | "deny", rule: string): TargetAdmission {
  if (word === "allow") return { allowed: true, rule, effect: "none" };
  const effect = acl.mode === "enforce" ? "refuse" : acl.mode === "report" ? "report" : "none";
  return { allowed: false, rule, effect };
}

/** An exception from the guard: the addresses of a block, at one port or (0) at any. */
interface AddressException {
  readonly block: AddressBlock;
  readonly port: number;
}

/** The guard on addresses, compiled once per configuration by `compileAddressGuard`. */
export interface AddressGuard {
  readonly privateRanges: "allow" | "deny";
  readonly everywhere: readonly AddressException[];
  readonly byDestination: ReadonlyMap<Destination, readonly AddressException[]>;
  /** Ports that the proxy itself listens on; read at each decision, because they are known only after binding. */
  readonly ownPorts: () => ReadonlySet<number>;
}

/** Why an address is refused: `address.` and its class, `address.own_port` or `address.invalid`. */
export interface AddressRefusal {
  readonly rule: `address.${AddressClass | "own_port"}`;
}

/**
 * Compiles the exceptions of the acl and of each destination.
 * @throws RangeError naming the entry that is no `CIDR` or `CIDR:port`
 */
export function compileAddressGuard(
  acl: Acl,
  destinations: readonly Destination[],
  ownPorts: () => ReadonlySet<number>,
): AddressGuard {
  const byDestination = new Map<Destination, readonly AddressException[]>();
  for (const destination of destinations) {
    if (destination.allowAddresses.length === 0) continue;
    byDestination.set(destination, destination.allowAddresses.map(compileException));
  }
  const everywhere = acl.allowAddresses.map(compileException);
  return { privateRanges: acl.privateRanges, everywhere, byDestination, ownPorts };
}

/** `block` or `block:port`, the block's address in brackets or not where a port follows its `/length`. */
const EXCEPTION =
  /^(?:\[(?<v6>[^\]]+)\]|(?<v4>[\d.]+)|(?<cidr>[^/[\]]+(?=\/)))(?<length>\/\d+)?(?::(?<port>\d{1,5}))?$/;

function compileException(text: string): AddressException {
  const whole = parseBlock(text);
  if (whole !== null) return { block: whole, port: 0 };
  const parts = EXCEPTION.exec(text)?.groups;
  const block = parts && parseBlock(`${parts.v6 ?? parts.v4 ?? parts.cidr}${parts.length ?? ""}`);
  const port = Number(parts?.port ?? 0);
  if (!block || port > 65_535 || (parts.port !== undefined && port === 0)) {
    throw new RangeError(
      `allow_addresses: "${text}" is no address block; write 10.0.0.0/8, 10.1.2.3:443 or [fd00::1]:443`,
    );
  }
  return { block, port };
}

/**
 * Judges one address (text form) that a call of `destination` is about to be sent to; `null` admits it. Only global addresses
 * are admitted as they are, private ones by `acl.private_ranges`, all others by an exception. Three things no wide exception
 * opens: the proxy's own ports on this host (none does), a metadata service (only its exact address does), and whatever lies
 * behind a translating address (that must be admitted itself).
 */
export function admitAddress(
  guard: AddressGuard,
  address: string,
  port: number,
  destination: Destination,
): AddressRefusal | null {
  const parsed = parseAddress(address);
  return parsed === null ? { rule: "address.invalid" } : judge(guard, parsed, port, destination);
}

function judge(
  guard: AddressGuard,
  address: Address,
  port: number,
  destination: Destination,
): AddressRefusal | null {
  const is = classOf(address);
  if (is === "global") return null;
  const thisHost = is === "loopback" || is === "unspecified";
  if (thisHost && guard.ownPorts().has(port)) return { rule: "address.own_port" };
  if ((is === "private" || is === "cgnat") && guard.privateRanges === "allow") return null;
  if (!excepted(guard, address, port, destination, is)) return { rule: `address.${is}` };
  const inner = embeddedIPv4(address, is);
  return inner === null ? null : judge(guard, inner, port, destination);
}

function excepted(
  guard: AddressGuard,
  address: Address,
  port: number,
  destination: Destination,
  is: AddressClass,
): boolean {
  const applies = (exception: AddressException) =>
    (exception.port === 0 || exception.port === port) &&
    (is !== "metadata" || exception.block.bits === 128) &&
    inBlock(exception.block, address);
  return guard.everywhere.some(applies) || (guard.byDestination.get(destination)?.some(applies) ?? false);
}
