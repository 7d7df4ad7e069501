/**
 * The part of the policy file that makes a destination robust and shapes its calls: hedging, circuit breaking, answers in place of
 * a failure, splits, rewrites, mirrors, faults.
 *
 * As `schema.ts`, of which it is a part. Each mapping is off until some level states it; what it does not state has the defaults
 * of `defaults-stages.ts`.
 */
import {
  fileReferenceProblem,
  headerNameProblem,
  headerValueProblem,
  hostProblem,
  methodProblem,
  pathPrefixProblem,
  rewritableHeaderProblem,
  stickyProblem,
} from "./notation.ts";
import {
  duration,
  list,
  mapping,
  mappingOrOff,
  nonEmptyList,
  number,
  numberOrText,
  percent,
  ratio,
  ratioOrOff,
  size,
  text,
  textOrOff,
  whole,
  wholeOrOff,
  yesOrNo,
} from "./schema-forms.ts";
import { GRPC_CONDITIONS, grpcStatusNamed, parseInstant, parseStatuses } from "./units.ts";

/** Bytes of `fallback.body`. */
const FALLBACK_BYTES_MAX = 16 * 1024;

const host = () => text("a host", hostProblem);
const port = () => whole(1, 65_535);
const ownPort = () => port().optional().describe("Default: the port of the call.");

const statusForms = [
  { type: "integer", minimum: 400, maximum: 599 },
  { type: "string", pattern: "^([45][0-9]{2}-[45][0-9]{2}|[45]xx)$" },
];

const status = numberOrText(
  'a status (400 to 599), a range such as "502-504", 4xx or 5xx',
  (entry) => parseStatuses(entry) !== null,
  statusForms,
);

const statusOrGrpc = numberOrText(
  'a status (400 to 599), a range such as "502-504", 4xx or 5xx, or a gRPC status such as grpc_unavailable',
  (entry) => parseStatuses(entry) !== null || grpcStatusNamed(entry) !== null,
  [...statusForms, { enum: [...GRPC_CONDITIONS] }],
);

/** `hedge`. */
export const hedge = mappingOrOff(
  "hedge",
  "A second try at once when the first is slow. The first answer that is no failure wins, the other try is cancelled.",
  {
    delay: duration({ min: "1ms", max: "1m", off: true })
      .optional()
      .describe("Time until the second try; `off`: `percentile` says when."),
    percentile: number(50, 99.9)
      .optional()
      .describe(
        "The second try comes when so many percent of the recent tries had the head of their response. Excludes `delay`. Without enough recent tries there is no second.",
      ),
    max_hedges: whole(1, 5).optional().describe("Tries at once beyond the first."),
    methods: list("methods", text("a method", methodProblem), 32)
      .optional()
      .describe("Methods that may be sent twice at once."),
    budget_ratio: ratio()
      .optional()
      .describe("Second tries for each call at most, in the long run; 0.1 allows a tenth more."),
  },
);

/** `circuit_breaker`. */
export const circuitBreaker = mappingOrOff(
  "circuit_breaker",
  "Stops calling an upstream that fails: calls get 503 `CIRCUIT_OPEN` for a while, then a few tries find out whether it is back. Tries are counted, not calls. `{}` switches it on with its defaults.",
  {
    consecutive_failures: wholeOrOff(1, 10_000).optional().describe("Failures in a row that open it."),
    error_ratio: ratioOrOff()
      .optional()
      .describe("Part of the tries in `window` that fail, from which on it opens."),
    slow_call: duration({ min: "1ms", max: "10m", off: true })
      .optional()
      .describe("A try that takes longer until the head of its response is slow."),
    slow_ratio: ratio()
      .optional()
      .describe("Part of the tries in `window` that are slow, from which on it opens."),
    window: duration({ min: "1s", max: "10m" }).optional().describe("Time that the ratios look back."),
    min_calls: whole(1, 10_000).optional().describe("Tries in `window` before a ratio counts."),
    open_for: duration({ min: "100ms", max: "1h" })
      .optional()
      .describe("Time until the upstream is tried again."),
    half_open_probes: whole(1, 100)
      .optional()
      .describe(
        "Tries that may go out at once when that time is over; as many successes close it, one failure opens it again.",
      ),
    on: list("statuses", statusOrGrpc, 64)
      .optional()
      .describe(
        "Statuses that are failures. Errors of the upstream always are; what the application cancels never is.",
      ),
    isolated: yesOrNo().optional().describe("Held open by hand: no call goes out."),
    shared: yesOrNo()
      .optional()
      .describe(
        "Sandboxes tell one another when it opens and closes, and one of them tries the upstream. Needs `fleet.store`.",
      ),
  },
);

/** `fallback`. */
export const fallback = mappingOrOff(
  "fallback",
  "An answer of Outrider's own in place of a failure, marked `Outrider-Served: fallback`. Not for gRPC calls and tunnels.",
  {
    on: list("statuses", status, 64)
      .optional()
      .describe("Statuses of the upstream that it takes the place of. It does so for errors always."),
    status: whole(200, 599).optional().describe("Status of the answer. Needed."),
    content_type: text("a media type", headerValueProblem).optional().describe("Its `Content-Type`."),
    body: text("a text of at most 16 KiB", (value) =>
      Buffer.byteLength(value) <= FALLBACK_BYTES_MAX ? null : "it is longer than 16 KiB",
    )
      .optional()
      .describe("Its body."),
  },
);

/** `stale_if_error`. */
export const staleIfError = mappingOrOff(
  "stale_if_error",
  "The last good answer in place of a failure (RFC 5861 §4), for GET, in memory, marked `Outrider-Served: stale` and `Age`. Kept is only what a shared cache may keep (RFC 9111 §3). `{}` switches it on with its defaults.",
  {
    max_age: duration({ min: "1s", max: "24h" }).optional().describe("Oldest answer that is served."),
    bytes: size({ min: "1KiB", max: "64MiB" })
      .optional()
      .describe("All answers of the route together. Above: the oldest is forgotten."),
    body_bytes: size({ min: "1B", max: "4MiB" })
      .optional()
      .describe("The body of one answer. Above: it is not kept."),
  },
);

/** One entry of `split`. */
export const splitTarget = mapping(
  "split",
  "Another upstream for a part of the calls: canary, blue and green. Host and TLS name follow. What is left of 100 stays where it is.",
  {
    host: host().describe("Name or IP address."),
    port: ownPort(),
    weight: percent().describe("Part of the calls, percent. All together at most 100."),
    sticky: text("trace, sandbox, none, or header: and a name", stickyProblem)
      .optional()
      .describe(
        "What keeps a caller on its side: the trace id, the value of a request header (`header:x-tenant`), this sandbox, or nothing. The same for all entries. Default: `trace`.",
      ),
  },
);

const headerToSet = mapping("header", "A request header.", {
  name: text("a header name", rewritableHeaderProblem).describe("Its name."),
  value: text("a header's value", headerValueProblem).describe("Its value."),
});

const flag = mapping("flag", "A header whose value is drawn once for each sandbox.", {
  header: text("a header name", rewritableHeaderProblem).describe("Its name."),
  values: nonEmptyList(
    "values",
    mapping("flag_value", "One of the values.", {
      value: text("a header's value", headerValueProblem).describe("The value."),
      weight: whole(0, 1_000_000).describe("How often it is drawn, compared with the others."),
    }),
    32,
  ).describe("What is drawn from."),
});

/** `rewrite`. */
export const rewrite = mappingOrOff(
  "rewrite",
  "What is changed on the way out. What a signature covers is left as it is.",
  {
    path_prefix: text("a path", pathPrefixProblem)
      .optional()
      .describe("Beginning of paths, in whole segments, that `path_replacement` takes the place of."),
    path_replacement: text("a path", pathPrefixProblem)
      .optional()
      .describe("The new beginning; `/` for none."),
    set_headers: list("headers", headerToSet, 32)
      .optional()
      .describe("Request headers that are written in place of what is there."),
    remove_headers: list("header names", text("a header name", rewritableHeaderProblem), 32)
      .optional()
      .describe("Request headers that are left out."),
    flags: list("flags", flag, 16)
      .optional()
      .describe("Headers with a value for each sandbox: feature flags."),
  },
);

/** `mirror`. */
export const mirror = mappingOrOff(
  "mirror",
  "A copy of a part of the calls to another upstream, whose answers are compared with the real ones and dropped. It never delays or fails a call, and ends with it.",
  {
    host: host().optional().describe("Name or IP address. Needed."),
    port: ownPort(),
    percent: percent().optional().describe("Part of the calls, percent. Needed."),
    body_bytes: size({ min: "0B", max: "1MiB" })
      .optional()
      .describe("Request bodies longer than this are not mirrored; answers are compared up to here."),
    concurrency: whole(1, 1000).optional().describe("Copies in flight at once. Above: not mirrored."),
    keep_credentials: yesOrNo()
      .optional()
      .describe("Whether `Authorization`, cookies, keys and signatures go along."),
  },
);

/** `fault`. */
export const fault = mappingOrOff(
  "fault",
  "Faults on purpose, to see how the application bears them. Only where the environment allows them too: `OUTRIDER_FAULTS=on`.",
  {
    percent: percent().optional().describe("Part of the calls, percent. Needed."),
    delay: duration({ min: "1ms", max: "10m", off: true })
      .optional()
      .describe("Wait before the call goes out."),
    abort: wholeOrOff(400, 599).optional().describe("Status that is answered in place of the upstream."),
    reset: yesOrNo().optional().describe("The call breaks off as if the upstream had closed the connection."),
    tls_failure: yesOrNo().optional().describe("The call fails as if the TLS handshake had."),
    body_rate: size({ min: "1B", max: "100MiB", off: true })
      .optional()
      .describe("Bytes per second as which the body of the response comes at most."),
    truncate_after: size({ min: "0B", max: "100MiB", off: true })
      .optional()
      .describe("Bytes of the response's body behind which it breaks off."),
    expires: text("a date such as 2027-01-31 or 2027-01-31T12:00:00Z", (value) =>
      parseInstant(value) === null
        ? "write a date (ISO 8601) such as 2027-01-31 or 2027-01-31T12:00:00Z"
        : null,
    )
      .optional()
      .describe("From then on there are no faults. Needed; at most 30 days ahead."),
    kill_switch: textOrOff("file: and an absolute path", fileReferenceProblem)
      .optional()
      .describe("While this file exists there are no faults either."),
  },
);

/** `limits.adaptive_concurrency`. */
export const adaptiveConcurrency = mappingOrOff(
  "adaptive_concurrency",
  "A limit of calls in flight that finds itself by the latency: it falls when answers take longer than they could, and rises when they do not. `{}` switches it on with its defaults.",
  {
    min: whole(1, 100_000).optional().describe("The limit never falls below."),
    max: whole(1, 100_000).optional().describe("The limit never rises above."),
    queue: whole(0, 10_000)
      .optional()
      .describe("Calls that may wait for a free slot, within their deadline."),
  },
);

/** `limits.per_invocation`. */
export const perInvocation = mappingOrOff(
  "per_invocation",
  "What one invocation may spend. Above: 429 `BUDGET_SPENT`, and a body that passes `bytes` breaks off.",
  {
    calls: wholeOrOff(1, 1_000_000).optional().describe("Calls."),
    bytes: size({ min: "1B", max: "999999999B", off: true })
      .optional()
      .describe("Bytes of requests and responses together."),
  },
);

/** `deadline_header`, `limits.key_header`. */
export const headerNameOrOff = () => textOrOff("a header name", headerNameProblem);
