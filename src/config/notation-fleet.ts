/**
 * The textual forms of what sandboxes share: the store's URL, a service's address, descriptors of a rate limit.
 *
 * As `notation.ts`: each function says in one clause what is wrong with a text and what to write instead, or `null`. Pure.
 */
import { headerNameProblem, hostProblem, isPort } from "./notation.ts";

/** `redis://host:port[/db]` or `rediss://…`, in the form of the IANA registration of `redis`, without credentials. */
export function storeProblem(text: string): string | null {
  const url = URL.parse(text);
  if (url === null || !["redis:", "rediss:"].includes(url.protocol) || url.hostname === "") {
    return "it is no address of a store; write redis://host:6379, or rediss:// for TLS";
  }
  if (url.username !== "" || url.password !== "") {
    return "names and passwords do not stand in the policy; put the password in an environment variable and name it with password_env";
  }
  if (!/^\/?(?:[0-9]{1,4})?$/.test(url.pathname))
    return "behind the port stands the number of the database, or nothing";
  if (url.search !== "" || url.hash !== "")
    return "it ends with the number of the database; leave out what follows ? or #";
  return null;
}

/** `host:port`, an IPv6 address in brackets (RFC 3986 §3.2.2). */
export function hostPortProblem(text: string): string | null {
  const parts = /^(?:\[([^\]]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(text);
  if (parts === null || !isPort(Number(parts[3]))) return "write host:port, such as ratelimit.internal:8081";
  return hostProblem(parts[1] ?? parts[2]!);
}

/** The name of an environment variable (POSIX.1-2024, §8.1). */
export function variableProblem(text: string): string | null {
  return /^[A-Za-z_][A-Za-z0-9_]{0,127}$/.test(text)
    ? null
    : "it is no name of an environment variable; write one such as REDIS_PASSWORD";
}

/** The beginning of the store's keys: what Redis takes for a key without quoting, and no hash tag of a cluster. */
export function keyPrefixProblem(text: string): string | null {
  return /^[A-Za-z0-9_.:/-]{0,64}$/.test(text)
    ? null
    : "a prefix has at most 64 letters, digits, and characters of _.:/-";
}

/** The domain of a rate limit service's requests. */
export function domainProblem(text: string): string | null {
  return /^[\x21-\x7e]{1,128}$/.test(text) ? null : "a domain has 1 to 128 visible ASCII characters";
}

/** Values of descriptors that are filled in for each call. */
const FILLED_IN = ["$destination", "$route", "$identity"];

/** One entry of `limits.descriptors`: `key=value`, `key=$header:NAME`, `key=$destination` … */
export function descriptorProblem(text: string): string | null {
  const parts = /^([\x21-\x3c\x3e-\x7e]{1,128})=([\x20-\x7e]{1,256})$/.exec(text);
  if (parts === null) return "write key=value, such as tenant=$header:x-tenant";
  const value = parts[2]!;
  if (!value.startsWith("$") || FILLED_IN.includes(value)) return null;
  if (value.startsWith("$header:")) return headerNameProblem(value.slice("$header:".length));
  return `what begins with $ is filled in; write ${FILLED_IN.join(", ")} or $header:NAME`;
}
