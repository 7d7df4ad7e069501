/**
 * The part of the policy file that `defaults`, destinations and routes share: timeouts, deadlines, retries, limits, trace headers.
 *
 * As `schema.ts`, of which it is a part.
 */
import { headerNameProblem, methodProblem } from "./notation.ts";
import { descriptorProblem } from "./notation-fleet.ts";
import {
  duration,
  list,
  mapping,
  numberOrText,
  oneOf,
  rate,
  ratio,
  size,
  text,
  whole,
  wholeOrOff,
  yesOrNo,
} from "./schema-forms.ts";
import {
  adaptiveConcurrency,
  circuitBreaker,
  fallback,
  fault,
  headerNameOrOff,
  hedge,
  mirror,
  perInvocation,
  rewrite,
  splitTarget,
  staleIfError,
} from "./schema-stages.ts";
import { GRPC_CONDITIONS, grpcStatusNamed, headerNamed, parseStatuses, RETRY_CONDITIONS } from "./units.ts";

/** A request method. */
export const method = () => text("a method", methodProblem);

/** Trace headers to write. */
export const propagate = () => list("trace formats", oneOf("tracecontext", "xray"), 2);

const headerName = () => text("a header name", headerNameProblem);

const retryCondition = numberOrText(
  `${RETRY_CONDITIONS.join(", ")}, a status (400 to 599), a range such as "502-504", 4xx or 5xx, a gRPC status such as grpc_unavailable, or header: and the name of a response header`,
  (entry) =>
    RETRY_CONDITIONS.some((condition) => condition === entry) ||
    parseStatuses(entry) !== null ||
    grpcStatusNamed(entry) !== null ||
    headerNamed(entry) !== null,
  [
    { type: "integer", minimum: 400, maximum: 599 },
    { enum: [...RETRY_CONDITIONS, ...GRPC_CONDITIONS] },
    { type: "string", pattern: "^([45][0-9]{2}-[45][0-9]{2}|[45]xx|header:.+)$" },
  ],
);

const retry = mapping(
  "retry",
  "What is sent again, how often, and what it may cost. Nothing is sent again unless `max_retries` says so.",
  {
    max_retries: whole(0, 10).optional().describe("Tries after the first; 0 for none."),
    on: list("conditions", retryCondition, 64)
      .optional()
      .describe(
        "What makes a call worth another try: conditions by name, statuses, ranges or classes of statuses, gRPC statuses, or a header of the response that is there and does not say `false` (`header:x-should-retry`).",
      ),
    methods: list("methods", method(), 32)
      .optional()
      .describe(
        "Methods that may be sent again after the upstream may have acted on them. POST in this list may repeat its effect. A call of which no byte was sent may be sent again whatever its method.",
      ),
    idempotency_headers: list("header names", headerName(), 16)
      .optional()
      .describe("A call that carries one of these headers may be sent again whatever its method."),
    backoff: mapping(
      "backoff",
      "The wait before another try: random between 0 and a bound that doubles with each try. A `Retry-After` of the upstream wins when it fits the deadline.",
      {
        base: duration({ min: "1ms", max: "1m" }).optional().describe("Bound of the first wait."),
        max: duration({ min: "1ms", max: "5m" }).optional().describe("Bound that no wait exceeds."),
      },
    ).optional(),
    budget: mapping(
      "budget",
      "Keeps retries from multiplying an outage: a bucket of tokens without a clock, so that it holds across a freeze.",
      {
        ratio: ratio()
          .optional()
          .describe(
            "Tokens that each success gives back; a retry costs 1. 0.2 allows a fifth more calls in the long run.",
          ),
        floor: whole(0, 100)
          .optional()
          .describe("Retries that each invocation may make whatever the bucket holds."),
      },
    ).optional(),
    replay_buffer: size({ min: "0B", max: "1MiB" })
      .optional()
      .describe(
        "Bytes of a request's body kept for another try. A longer body streams on and is not sent again.",
      ),
  },
);

const limits = mapping(
  "route_limits",
  "Local limits of a destination, or of a route that states its own. A call counts until its last byte.",
  {
    rate: rate({ min: "1/h", max: "100000/s", off: true })
      .optional()
      .describe("Calls per second, minute or hour."),
    burst: whole(1, 100_000)
      .optional()
      .describe(
        "Calls that may come at once after a pause. Default: the calls per second that `rate` allows, at least 1.",
      ),
    overflow: oneOf("reject", "wait")
      .optional()
      .describe(
        "What a call above `rate` does: it is refused with 429 and Retry-After, or it waits within its deadline.",
      ),
    max_concurrency: wholeOrOff(1, 100_000)
      .optional()
      .describe("Calls in flight at once; one more gets 503."),
    queue: whole(0, 10_000)
      .optional()
      .describe("Calls that may wait for a free slot of `max_concurrency`, within their deadline."),
    adaptive_concurrency: adaptiveConcurrency.optional(),
    per_invocation: perInvocation.optional(),
    key_header: headerNameOrOff()
      .optional()
      .describe("`rate` holds for each value of this request header, for instance for each tenant."),
    keys: whole(1, 100_000)
      .optional()
      .describe(
        "Values of `key_header` that are counted at once. Above: the one not seen for the longest is forgotten.",
      ),
    fleet: yesOrNo()
      .optional()
      .describe(
        "`rate` holds for all sandboxes together, each of which leases a share. Needs `fleet.store`.",
      ),
    descriptors: list("descriptors", text("key=value", descriptorProblem), 16)
      .optional()
      .describe(
        "Entries of the descriptor that `fleet.rate_limit_service` judges each call by: `key=value`, where `$header:NAME`, `$destination`, `$route` and `$identity` are filled in. `rate` holds while it cannot be asked. Empty: it is not asked.",
      ),
  },
);

const deadlineHeader = mapping(
  "deadline_header",
  "A request header that carries the caller's own deadline.",
  {
    name: headerName().describe("The header's name."),
    format: oneOf("milliseconds", "seconds", "grpc").describe(
      "How its value reads; `grpc` is the form of `grpc-timeout` (`250m`, `8S`).",
    ),
  },
);

/** The keys that `defaults`, a destination and a route share. Each overrides the one before it. */
export const policyKeys = {
  timeout: duration({ min: "1ms", max: "24h", off: true })
    .optional()
    .describe(
      "Bound of the whole call, all tries and the body included. The invocation's own deadline bounds it in any case.",
    ),
  per_try_timeout: duration({ min: "1ms", max: "24h", off: true })
    .optional()
    .describe("Bound of one try, until the head of its response."),
  dns_timeout: duration({ min: "1ms", max: "1m" })
    .optional()
    .describe("Bound of resolving the upstream's name."),
  connect_timeout: duration({ min: "1ms", max: "1m" })
    .optional()
    .describe("Bound of the TCP connection to the upstream."),
  tls_timeout: duration({ min: "1ms", max: "1m" })
    .optional()
    .describe("Bound of the TLS handshake with the upstream."),
  idle_timeout: duration({ min: "1ms", max: "24h", off: true })
    .optional()
    .describe("Longest silence while a call is open, the wait for the response included."),
  deadline_reserve: duration({ min: "0ms", max: "15m" })
    .optional()
    .describe("Part of the invocation's time that calls leave free, so that the function can still answer."),
  deadline_headers: list("deadline headers", deadlineHeader, 8)
    .optional()
    .describe("Request headers that carry the caller's own deadline. The smallest of all deadlines holds."),
  deadline_header: headerNameOrOff()
    .optional()
    .describe(
      "A request header that tells the upstream how many milliseconds are left, such as `x-request-timeout-ms`.",
    ),
  retry: retry.optional(),
  hedge: hedge.optional(),
  circuit_breaker: circuitBreaker.optional(),
  limits: limits.optional(),
  fallback: fallback.optional(),
  stale_if_error: staleIfError.optional(),
  split: list("split targets", splitTarget, 16)
    .optional()
    .describe("Other upstreams for a part of the calls; `[]` takes back what an outer level states."),
  rewrite: rewrite.optional(),
  mirror: mirror.optional(),
  fault: fault.optional(),
};
