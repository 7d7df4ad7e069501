/**
 * The calls that every general client makes: a download, an upload with a length and one without, a call in plain HTTP, and one to a
 * host that is not intercepted. What they come to is told from three sides: by the program, by the upstreams, by the access log.
 */
import { createHash } from "node:crypto";
import { BLIND_HOST, GOVERNED_HOST, isOf, type LoggedCall, PLAIN_HOST, type Scene } from "./kit.ts";
import { BODY, type SeenRequest, type Upstream } from "./upstream.ts";

/** What a program prints of a call that brought `BODY` back. */
const RIGHT = `200 ${createHash("sha256").update(BODY).digest("hex")}`;

/** Calls with a path of their own; what passes through the tunnel has none. */
const LOGGED_CALLS = 4;

/** A request as an upstream saw it: whether it was governed shows in the field that the policy adds. */
type Seen = Omit<SeenRequest, "path" | "traceparent"> & { readonly governed: boolean };

/** See the file's header. */
export interface Account {
  /** `what` → status and hash. */
  readonly printed: Readonly<Record<string, string>>;
  readonly governed: readonly Seen[];
  readonly plain: readonly Seen[];
  readonly blind: readonly Seen[];
  /** `destination method scheme://host status bytes up, bytes down`, sorted. */
  readonly logged: readonly string[];
}

/** Runs the usual calls of `client`, a name that no other program of the scene has. */
export async function usualCalls(scene: Scene, client: string, command: readonly string[]): Promise<Account> {
  const printed = await scene.calls(client, command);
  const logged = await scene.logged(LOGGED_CALLS, isOf(client));
  const seenBy = (upstream: Upstream): readonly Seen[] =>
    upstream.requests.filter(isOf(client)).map(({ path: _, traceparent, ...seen }) => ({
      ...seen,
      governed: /^00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-9a-f]$/.test(traceparent ?? ""),
    }));
  return {
    printed,
    governed: seenBy(scene.governed),
    plain: seenBy(scene.plain),
    blind: seenBy(scene.blind),
    logged: logged.map(lineOf).sort(),
  };
}

function lineOf({ destination, method, scheme, host, status, bytes_up, bytes_down }: LoggedCall): string {
  return `${destination} ${method} ${scheme}://${host} ${status} ${bytes_up} up, ${bytes_down} down`;
}

/** What the usual calls come to when everything is right. `version` is the HTTP that the client speaks over TLS. */
export function rightCalls(version: "1.1" | "2.0"): Account {
  const framed = (framing: SeenRequest["framing"]) => (version === "2.0" ? "frames" : framing);
  const get = { method: "GET", bodyBytes: 0 };
  const post = { method: "POST", bodyBytes: BODY.length };
  return {
    printed: { get: RIGHT, post: RIGHT, stream: RIGHT, plain: RIGHT, blind: RIGHT },
    governed: [
      { ...get, version, framing: framed("none"), governed: true },
      { ...post, version, framing: framed("length"), governed: true },
      { ...post, version, framing: framed("chunked"), governed: true },
    ],
    plain: [{ ...get, version: "1.1", framing: "none", governed: true }],
    blind: [{ ...get, version, framing: framed("none"), governed: false }],
    logged: [
      `api GET https://${GOVERNED_HOST} 200 0 up, ${BODY.length} down`,
      `api POST https://${GOVERNED_HOST} 200 ${BODY.length} up, ${BODY.length} down`,
      `api POST https://${GOVERNED_HOST} 200 ${BODY.length} up, ${BODY.length} down`,
      `default GET http://${PLAIN_HOST} 200 0 up, ${BODY.length} down`,
    ],
  };
}

/** What was counted of a scene's usual calls, from three sides. */
export interface Counted {
  /** Successful calls of the intercepted destination in the metrics. */
  readonly counted: number;
  /** The same calls as the upstream saw them. */
  readonly seen: number;
  /** Errors of that destination in the metrics. */
  readonly errors: readonly string[];
  /** Tunnels to the host that is not intercepted, in the access log. */
  readonly tunnels: number;
}

/** See `Counted`. */
export async function countedCalls(scene: Scene): Promise<Counted> {
  await scene.settled();
  const { destinations } = scene.proxy.proxy.telemetry.metrics();
  const tunnels = await scene.logged(
    0,
    ({ method, host, status }) => method === "CONNECT" && host === BLIND_HOST && status === 200,
  );
  const api = destinations.find(({ destination }) => destination === "api");
  return {
    counted: api?.calls["2xx"] ?? 0,
    seen: scene.governed.requests.length,
    errors: api?.errors.map(({ code }) => code) ?? [],
    tunnels: tunnels.length,
  };
}

/** What `countedCalls` comes to when `clients` have made the usual calls and everything was right. */
export const rightCount = (clients: number): Counted => ({
  counted: clients * 3,
  seen: clients * 3,
  errors: [],
  tunnels: clients,
});
