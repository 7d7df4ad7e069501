/** What the keys of a destination's `tls` must be to each other and to its hosts and ports. Pure; called by `destination-checks.ts`. */
import { errorAt, type Path, type Problem, warningAt } from "./problem.ts";
import { originatesTls } from "./resolve.ts";
import type { DestinationFile } from "./schema.ts";

/** Every finding about `tls` of the destination at `path`. */
export function checkTls(destination: DestinationFile, path: Path): Problem[] {
  const { tls } = destination;
  if (tls === undefined) return [];
  const at = [...path, "tls"];
  if (Object.keys(tls).length === 0) {
    return [
      errorAt(at, "says nothing; write tls: { originate: true }, tls: { intercept: true }, or delete it"),
    ];
  }
  return [
    ...checkKeys(tls, at),
    ...(originatesTls(destination) ? checkOrigination(destination, at) : []),
    ...(tls.intercept === true && destination.protocol !== "tcp" ? checkInterception(destination, at) : []),
  ];
}

function checkKeys(tls: NonNullable<DestinationFile["tls"]>, at: Path): Problem[] {
  const problems: Problem[] = [];
  const others = Object.keys(tls).filter((key) => key !== "originate" && key !== "intercept");
  if (tls.originate === false && tls.intercept !== true && others.length > 0) {
    const message = `is false, so ${others.join(", ")} would have no effect; delete one or the other, or write intercept: true`;
    problems.push(errorAt([...at, "originate"], message));
  }
  if (tls.client_key !== undefined && tls.client_cert === undefined) {
    problems.push(
      errorAt([...at, "client_key"], "needs client_cert, the certificate that the key belongs to"),
    );
  }
  return problems;
}

/** Plain calls that leave over TLS. */
function checkOrigination(
  { tls, protocol, hosts, ports, upstream, local_port }: DestinationFile,
  at: Path,
): Problem[] {
  const problems: Problem[] = [];
  const takesPlain = ports === undefined || ports.includes(80) || !ports.includes(443);
  if (!takesPlain && local_port === undefined && protocol !== "tcp" && tls?.intercept !== true) {
    const message =
      "the plain calls that tls is for come to port 80, which is not among ports; add 80 (it goes to 443 over TLS), or write intercept: true for calls that are TLS already";
    problems.push(warningAt(at, message));
  }
  if (hosts.includes("*") && upstream === undefined) {
    const message =
      'would wrap the plain calls to every host in TLS and show the client certificate to each; name the hosts instead of "*", or state an upstream';
    problems.push(errorAt(at, message));
  }
  return problems;
}

/** TLS of the application that is opened. */
function checkInterception({ hosts, ports = [] }: DestinationFile, at: Path): Problem[] {
  const problems: Problem[] = [];
  const path = [...at, "intercept"];
  if (hosts.includes("*")) {
    const message =
      'opens the TLS of every host that no other destination names; clients that pin certificates or bring their own roots will refuse; name the hosts instead of "*", or give such hosts a destination with tls: { intercept: false }';
    problems.push(warningAt(path, message));
  }
  // 443, and by convention 8443, 6443 and their like.
  if (ports.length > 0 && !ports.some((port) => port % 1000 === 443)) {
    const message = `TLS comes to port 443 unless the call names another, and ports holds only ${ports.join(", ")}; add 443, or leave ports out`;
    problems.push(warningAt(path, message));
  }
  return problems;
}
