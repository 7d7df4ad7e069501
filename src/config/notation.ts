/**
 * The textual forms of single values that are not quantities: host patterns, address blocks, file references, names.
 *
 * Each function says in one clause what is wrong with a text and what to write instead, or `null` when nothing is. Pure; nothing is resolved
 * and no file is looked for.
 */
import { isIP, isIPv4, isIPv6 } from "node:net";
import { domainToASCII } from "node:url";

/** Longest host name in text form (RFC 1035 §2.3.4: 255 octets on the wire). */
const HOST_LENGTH_MAX = 253;

/** Labels of a host name; the underscore is in common use although RFC 952 has none. */
const HOST_NAME = /^[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/i;

/** A last label that makes some readers take the whole for an IPv4 address (WHATWG URL, "ends in a number"). */
const ENDS_IN_NUMBER = /(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)$/i;

/** `token` of RFC 9110 §5.6.2: header names and methods. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$/;

/** Names appear in logs, metrics and messages, so they hold nothing that needs quoting. */
const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/;

/** A host of `hosts`: an exact name, `*.suffix`, an IP address, or `*`. */
export function hostPatternProblem(text: string): string | null {
  if (text === "*") return null;
  const isSuffix = text.startsWith("*.");
  const host = isSuffix ? text.slice(2) : text;
  if (host.includes("*"))
    return `"*." may only be the first label of a host; write "*.example.com" or "*" alone`;
  if (isSuffix && isIP(host) !== 0) return `an IP address has no sub-domains; write "${host}"`;
  const problem = hostProblem(host);
  return problem === null || !isSuffix ? problem : problem.replaceAll(`write "`, `write "*.`);
}

/** One exact host: a name, or an IP address in its canonical form and without brackets. */
export function hostProblem(text: string): string | null {
  const bare = bareHost(text);
  if (bare !== text)
    return bare === "" ? "it names no host" : `a host alone is meant here; write "${bare}"${portHint(text)}`;
  if (isIPv4(text)) return null;
  if (isIPv6(text)) return ipv6Problem(text);
  if (/[^\x21-\x7e]/.test(text)) return asciiHint(text);
  if (text.length > HOST_LENGTH_MAX) return `it is longer than ${HOST_LENGTH_MAX} characters`;
  if (!HOST_NAME.test(text)) return "it is no host name and no IP address";
  if (ENDS_IN_NUMBER.test(text)) {
    return `it ends in a number, so that some programs read it as an address; write the address as four decimal numbers`;
  }
  return null;
}

/** What is left of `https://user@host:port/path`, `[::1]:80` or `host.` when only the host is kept. */
function bareHost(text: string): string {
  const authority = text.replace(/^[a-z][a-z0-9+.-]*:\/\//i, "").replace(/[/?#].*$/s, "");
  const hostPort = authority.slice(authority.lastIndexOf("@") + 1);
  const bracketed = /^\[([^\]]*)\](?::[0-9]*)?$/.exec(hostPort);
  if (bracketed !== null) return bracketed[1]!;
  return (isIPv6(hostPort) ? hostPort : hostPort.replace(/:[0-9]*$/, "")).replace(/\.$/, "");
}

function portHint(text: string): string {
  const port = /:([0-9]{1,5})(?:$|[/?#])/.exec(text);
  return port === null || isIPv6(text) ? "" : ` and put the port in ports: [${port[1]}]`;
}

function ipv6Problem(text: string): string | null {
  if (text.includes("%")) return "a zone (%…) means something on one machine only; leave it out";
  const canonical = new URL(`http://[${text}]/`).hostname.slice(1, -1);
  return canonical === text ? null : `an IPv6 address is compared by its text; write "${canonical}"`;
}

function asciiHint(text: string): string {
  const ascii = domainToASCII(text);
  return ascii === "" || /[^\x21-\x7e]/.test(text.replace(/[^\x00-\x7f]/g, ""))
    ? "it holds characters that no host name has"
    : `hosts are compared as they are sent; write "${ascii}"`;
}

/** An entry of `allow_addresses`: `10.0.0.0/8`, `10.1.2.3`, `10.1.2.3:443`, `fd00::/8`, `[fd00::1]:443`, `[fd00::]/8:443`. */
export function addressBlockProblem(text: string): string | null {
  const problem = "it is no address block; write 10.0.0.0/8, 10.1.2.3:443, fd00::/8 or [fd00::1]:443";
  if (text.includes("%")) return problem;
  const parts = isIPv6(text)
    ? [text, text]
    : /^(\[[^\]]+\]|[^/[\]]+?(?=\/)|[0-9.]+)(?:\/([0-9]{1,3}))?(?::([0-9]{1,5}))?$/.exec(text);
  if (parts === null) return problem;
  const bracketed = parts[1]!.startsWith("[");
  const family = isIP(bracketed ? parts[1]!.slice(1, -1) : parts[1]!);
  if (family === 0 || (bracketed && family === 4)) return problem;
  const bits = family === 4 ? 32 : 128;
  if (Number(parts[2] ?? 0) > bits) return `a prefix of IPv${family} has at most ${bits} bits`;
  if (parts[3] !== undefined && !isPort(Number(parts[3]))) return "its port is not within 1 to 65535";
  return null;
}

/** Whether it is a port that can be connected to. */
export function isPort(value: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= 65_535;
}

/** `file:/absolute/path`: the compiled policy is read on another machine, so a relative path would mean something else there. */
export function fileReferenceProblem(text: string): string | null {
  if (/^file:\/[^/\0][^\0]*$/.test(text)) return null;
  if (text.startsWith("file:///")) return `write "file:${text.slice(7)}"`;
  if (/^\/[^/]/.test(text)) return `write "file:${text}"`;
  if (text.startsWith("-----BEGIN"))
    return "keys and certificates do not stand in the policy; write file: and the absolute path of the PEM file";
  return "write file: and an absolute path, such as file:/var/task/certs/client.pem";
}

/** The name of a destination. */
export function nameProblem(text: string): string | null {
  if (text === "default")
    return "this is the name of the destination that takes what no other does; choose another";
  return NAME.test(text)
    ? null
    : "a name has 1 to 64 letters, digits, dots, dashes or underscores, and begins with none of . and -";
}

/** A header field's name (RFC 9110 §5.1). */
export function headerNameProblem(text: string): string | null {
  return TOKEN.test(text) ? null : "it is no header name; write one such as idempotency-key";
}

/** A request method (RFC 9110 §9.1: case-sensitive). */
export function methodProblem(text: string): string | null {
  if (!TOKEN.test(text)) return "it is no method; write one such as GET";
  return text === text.toUpperCase() ? null : `methods are case-sensitive; write "${text.toUpperCase()}"`;
}

/** The path prefix of a route. */
export function pathPrefixProblem(text: string): string | null {
  if (!text.startsWith("/"))
    return `a path begins with a slash; write "/${text.replace(/^[^/]*:\/\/[^/]*\/?/, "").replace(/\/?\*.*$/, "")}"`;
  if (/[?#]/.test(text)) return "only the path is compared; leave out what follows ? or #";
  if (text.includes("*"))
    return `a path is a prefix of whole segments already; write "${text.replace(/\/?\*.*$/, "") || "/"}"`;
  return /^[\x21-\x7e]{1,1024}$/.test(text)
    ? null
    : "a path has at most 1024 visible ASCII characters; write others percent-encoded, as they are sent";
}

/** Headers that a rewrite may not touch: framing, routing, and what belongs to one hop (RFC 9110 §7.6.1, RFC 9113 §8.2.2). */
const NOT_REWRITTEN = new Set([
  "connection",
  "content-length",
  "expect",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** A header that `rewrite` sets or removes. */
export function rewritableHeaderProblem(text: string): string | null {
  if (NOT_REWRITTEN.has(text.toLowerCase())) {
    return "this header is the connection's own and is written by the proxy; it cannot be rewritten";
  }
  return headerNameProblem(text);
}

/** A header field's value as it may be written (RFC 9110 §5.5): visible ASCII, spaces and tabs inside. */
export function headerValueProblem(text: string): string | null {
  return /^(?:[\x21-\x7e](?:[\t\x20-\x7e]{0,1022}[\x21-\x7e])?)?$/.test(text)
    ? null
    : "a header's value has at most 1024 visible ASCII characters, with spaces only between them";
}

/** What `split[].sticky` goes by. */
export function stickyProblem(text: string): string | null {
  if (["trace", "sandbox", "none"].includes(text)) return null;
  const header = /^header:(.*)$/s.exec(text);
  if (header === null) return "write trace, sandbox, none, or header: and a name, such as header:x-tenant";
  return headerNameProblem(header[1]!);
}

/** Names of functions or services, with `*` at either end for any text. */
export function identityProblem(text: string): string | null {
  return /^(?:\*|\*?[A-Za-z0-9_.:/-]{1,128}\*?)$/.test(text)
    ? null
    : 'it is no name of a function or service; write one such as orders-api, or "orders-*"';
}
