/**
 * The policy file: its keys, their forms and bounds, and a sentence on each. The only definition: `run`, `check` and `compile`
 * validate by it, the JSON Schema and the reference page are made from it.
 *
 * Owns what can be said of one value. What concerns several values at once is in `cross-checks.ts`, defaults are in `defaults.ts`.
 * Values stay in the file's notation (`8s`, `64KiB`); `resolve.ts` turns them into numbers. The cold path never imports this file.
 */
import { isIP } from "node:net";
import * as z from "zod";
import {
  fileReferenceProblem,
  hostPatternProblem,
  hostProblem,
  nameProblem,
  pathPrefixProblem,
} from "./notation.ts";
import { acl, allowAddresses } from "./schema-acl.ts";
import { balance, endpoints } from "./schema-endpoints.ts";
import { fleet } from "./schema-fleet.ts";
import {
  duration,
  exactly,
  list,
  mapping,
  nonEmptyList,
  oneOf,
  ratio,
  size,
  text,
  whole,
  yesOrNo,
} from "./schema-forms.ts";
import { method, policyKeys, propagate } from "./schema-policy.ts";

const port = () => whole(1, 65_535);
const fileReference = () => text("file: and an absolute path", fileReferenceProblem);

const tls = mapping(
  "tls",
  "TLS towards the upstream. Unless `originate: false` says otherwise, any key but `intercept` also means that calls which the application makes in plain HTTP leave over TLS: a call to port 80 goes to port 443, to any other port it goes over TLS there. The upstream's certificate is always verified.",
  {
    originate: yesOrNo()
      .optional()
      .describe(
        "`true` when no other key is needed: TLS with the public roots and no client certificate. `false`: plain calls stay plain, and the other keys hold for calls that are TLS already (`intercept`).",
      ),
    intercept: yesOrNo()
      .optional()
      .describe(
        "Whether TLS that the application speaks itself is opened, with a certificate of a CA that is made anew in each sandbox, so that these calls are governed like plain ones. Without it they pass as a blind tunnel.",
      ),
    client_cert: fileReference()
      .optional()
      .describe("Certificate chain of the client, PEM; the file may hold the key too."),
    client_key: fileReference()
      .optional()
      .describe("Private key of the client, PEM, when it is not in the file of `client_cert`."),
    ca: fileReference()
      .optional()
      .describe("The only roots that are trusted, PEM. Default: the public roots that Node.js brings."),
    server_name: text("a host name", hostProblem)
      .optional()
      .describe(
        "Name that is sent (SNI) and verified. Default: the host that is called; at a local port the exact host of `hosts`, else the one of `upstream`.",
      ),
    min_version: oneOf("TLSv1.2", "TLSv1.3").optional().describe("Oldest version that is spoken."),
  },
);

const route = mapping(
  "route",
  "A part of a destination with other values. The first route that matches is taken; what it does not state is the destination's.",
  {
    match: mapping(
      "match",
      "Which calls the route takes. At least one of the keys is needed; both must match.",
      {
        path: text("a path", pathPrefixProblem)
          .optional()
          .describe("Prefix on whole segments: `/v1` takes `/v1` and `/v1/x`, not `/v10`."),
        methods: nonEmptyList("methods", method(), 32).optional().describe("Methods of the calls."),
      },
    ),
    ...policyKeys,
    propagate: propagate().optional().describe("As `telemetry.propagate`, for these calls only."),
  },
);

const destination = mapping("destination", "Calls to one upstream and the policy for them.", {
  name: text("a name", nameProblem).describe(
    "Unique; it is what logs, metrics and `outrider explain` call it.",
  ),
  hosts: nonEmptyList("hosts", text("a host", hostPatternProblem), 256).describe(
    'Hosts that belong to it: exact names, `"*.example.com"` (sub-domains at any depth, not example.com itself), IP addresses, or `"*"`. An exact name wins over a suffix, a longer suffix over a shorter one.',
  ),
  ports: list("ports", port(), 64)
    .optional()
    .describe(
      "Ports that belong to it, as the application calls them (`http://` without a port means 80); empty for any.",
    ),
  protocol: oneOf("http", "tcp")
    .optional()
    .describe(
      "`tcp`: what comes to `local_port` is no HTTP, for instance a database's protocol; its bytes pass unread, over TLS with `tls`.",
    ),
  http_version: oneOf("auto", "http1", "http2")
    .optional()
    .describe(
      "What is spoken to the upstream. `auto`: what the application speaks, as far as the upstream speaks it too; `http1` and `http2` translate.",
    ),
  access: oneOf("allow", "deny").optional().describe("`deny` refuses these calls (see `acl.mode`)."),
  allow_addresses: allowAddresses()
    .optional()
    .describe("Like `acl.allow_addresses`, for this destination only."),
  local_port: port()
    .optional()
    .describe(
      "A port on the listener's host that forwards plain requests to `upstream`, for programs that know no proxy.",
    ),
  upstream: mapping(
    "upstream",
    "Where the calls really go. Default: where each call says; with `local_port`, the one exact host of `hosts`.",
    {
      host: text("a host", hostProblem).describe("Name or IP address."),
      port: port()
        .optional()
        .describe(
          "Default: the only entry of `ports` unless that is 80, else 443 with `tls` and 80 without.",
        ),
    },
  ).optional(),
  endpoints: endpoints
    .optional()
    .describe("Several places to dial instead of one. Default: `upstream`, or where each call says."),
  balance: balance.optional(),
  tls: tls.optional(),
  ...policyKeys,
  propagate: propagate().optional().describe("As `telemetry.propagate`, for this destination only."),
  routes: list("routes", route, 64).optional().describe("Parts of the destination with other values."),
});

const ipAddress = text("an IP address", (value) =>
  isIP(value) === 0 ? "write an IP address, such as 0.0.0.0 or ::1" : null,
);

/** The whole file. */
export const policySchema = mapping("policy", "The policy file of Outrider.", {
  version: exactly(1, "write version: 1").describe("Version of the file's format."),
  on_proxy_failure: oneOf("open", "closed")
    .optional()
    .describe(
      "What happens on Lambda when the proxy cannot start as the policy says. `open`: the function runs; without a port its calls go out directly and ungoverned, and with a certificate missing only the calls that need it fail. `closed`: the function does not start.",
    ),
  listen: mapping("listen", "Where the proxy listens.", {
    port: whole(0, 65_535).optional().describe("0 takes a free port."),
    transparent_port: whole(0, 65_535)
      .optional()
      .describe(
        "A second port for connections that the system redirects (see `outrider capture`): where they go is read from SNI or Host. 0 for none.",
      ),
    unsafe_bind: ipAddress
      .optional()
      .describe(
        "Address to listen on. 127.0.0.1 and ::1 are safe; with any other, whoever reaches the address can use the proxy and its certificates.",
      ),
  }).optional(),
  limits: mapping("limits", "Bounds of the proxy itself, all destinations together.", {
    head_bytes: size({ min: "1KiB", max: "64KiB" })
      .optional()
      .describe("First line plus all fields of a request or a response. Above: 431, or 502 for a response."),
    header_count: whole(8, 1000).optional().describe("Fields of a request or a response. Above: the same."),
    target_bytes: size({ min: "256B", max: "64KiB" })
      .optional()
      .describe("The request's target. Above: 414."),
    connections: whole(1, 100_000)
      .optional()
      .describe("Connections from the application at once. Above: 503."),
    tunnels: whole(1, 100_000).optional().describe("Tunnels (CONNECT, WebSocket) at once. Above: 503."),
    head_timeout: duration({ min: "100ms", max: "10m" })
      .optional()
      .describe("Time in which the head of a request must arrive. Above: 408."),
    keep_alive: duration({ min: "100ms", max: "1h" })
      .optional()
      .describe("Life of an application's connection without a request."),
    idle_upstream: whole(0, 100_000)
      .optional()
      .describe("Idle connections to upstreams that are kept. Above: the oldest is closed."),
    handshake_timeout: duration({ min: "100ms", max: "1m" })
      .optional()
      .describe("Time for a TLS handshake with the application. Above: reset."),
    streams: whole(1, 10_000)
      .optional()
      .describe(
        "HTTP/2 streams at once on one connection. Above: the application's stream is refused, towards an upstream another connection is made.",
      ),
    tunnel_idle: duration({ min: "1s", max: "24h", off: true })
      .optional()
      .describe("Life of a tunnel through which no byte passes. Above: reset."),
    exchange_buffer: size({ min: "16KiB", max: "4MiB" })
      .optional()
      .describe(
        "Bytes of one direction of one call that wait for their receiver. Above: the sender is held back.",
      ),
    total_buffer: size({ min: "1MiB", max: "1024MiB" })
      .optional()
      .describe(
        "Bytes that wait in all calls together. Above: new calls get 503 until less than nine tenths wait.",
      ),
  }).optional(),
  acl: acl.optional(),
  fleet: fleet.optional(),
  defaults: mapping(
    "policy_keys",
    "Values for every destination; each destination and each route may override them.",
    policyKeys,
  ).optional(),
  destinations: list("destinations", destination, 1000)
    .optional()
    .describe(
      "Calls that no destination takes belong to the implicit destination `default`, which has the values of `defaults`.",
    ),
  telemetry: mapping("telemetry", "What is written of the calls, and which trace headers they carry.", {
    access_log: oneOf("all", "sampled", "off")
      .optional()
      .describe(
        "`all`: a line for each call; `sampled`: for `sample` of the good calls and for each failed one.",
      ),
    sample: ratio().optional().describe("Part of the good calls that `sampled` writes. Default: 0.1."),
    summary: yesOrNo()
      .optional()
      .describe("Whether each invocation ends with a line that sums up its calls."),
    propagate: propagate()
      .optional()
      .describe(
        "Trace headers written on the way out: W3C `traceparent`, AWS `X-Amzn-Trace-Id`; empty for none.",
      ),
    flush_cap: duration({ min: "0ms", max: "2s" })
      .optional()
      .describe("Longest time that telemetry may hold the end of an invocation."),
    destination: text("stdout, stderr, or file: and an absolute path", (value) =>
      value === "stdout" || value === "stderr" ? null : fileReferenceProblem(value),
    )
      .optional()
      .describe("Where the lines go: `stdout`, `stderr`, or `file:` and an absolute path."),
  }).optional(),
});

/** The file's content after validation: values in the file's notation, absent keys absent. */
export type PolicyFile = z.infer<typeof policySchema>;

/** One entry of `destinations`. */
export type DestinationFile = z.infer<typeof destination>;

/** The keys that `defaults`, destinations and routes share, and `propagate`. */
export type PolicyKeys = Omit<z.infer<typeof route>, "match">;

/** What the library reports of one value. */
export type SchemaIssue = z.core.$ZodIssue;

/** The JSON Schema (draft 2020-12) of the file, without defaults. */
export function policyJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(policySchema, { io: "input", target: "draft-2020-12" });
}
