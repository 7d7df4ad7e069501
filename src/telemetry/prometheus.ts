/**
 * Metrics as a Prometheus scraper reads them: text exposition format 0.0.4
 * (prometheus.io/docs/instrumenting/exposition_formats).
 *
 * Owns the names of the metrics, which are stable across releases. Pure; serving the text is not done here.
 */
import { DURATION_BOUNDS_MS, type HistogramSnapshot } from "./histogram.ts";
import { type DestinationMetrics, type MetricsSnapshot, STATUS_CLASSES } from "./metrics.ts";
import { MIRROR_RESULTS } from "./stage-facts.ts";
import type { LabelCount } from "./stage-metrics.ts";

/** Value of Content-Type for the text. */
export const PROMETHEUS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

type Labels = readonly (readonly [name: string, value: string])[];

/** One line's worth: labels besides `destination`, and the value. */
type Sample = readonly [labels: Labels, value: number];

interface Family {
  readonly name: string;
  readonly type: "counter" | "gauge";
  readonly help: string;
}

/** The families that have samples for each destination, in the order of the text. */
const DESTINATION_FAMILIES: readonly (Family & {
  readonly of: (metrics: DestinationMetrics) => readonly Sample[];
})[] = [
  {
    name: "outrider_calls_total",
    type: "counter",
    help: "Calls that ended, by class of the status that the application got.",
    of: (m) => STATUS_CLASSES.map((status) => [[["status_class", status]], m.calls[status]]),
  },
  {
    name: "outrider_call_errors_total",
    type: "counter",
    help: "Calls that ended with an error of the path, by code and by who is to blame.",
    of: (m) =>
      m.errors.map(({ code, blame, count }) => [
        [
          ["code", code],
          ["blame", blame],
        ],
        count,
      ]),
  },
  counter("outrider_attempts_total", "Attempts at an upstream.", (m) => m.attempts),
  counter(
    "outrider_attempts_reused_total",
    "Attempts on a connection that had served before.",
    (m) => m.reusedAttempts,
  ),
  counter("outrider_retries_total", "Attempts made by the retry policy.", (m) => m.retries),
  counter("outrider_connects_total", "TCP connections made to upstreams.", (m) => m.connects),
  counter("outrider_tls_handshakes_total", "TLS handshakes completed with upstreams.", (m) => m.handshakes),
  counter("outrider_denied_total", "Calls that the access rules refused.", (m) => m.denied),
  counter(
    "outrider_would_deny_total",
    "Calls that enforced access rules would have refused.",
    (m) => m.wouldDeny,
  ),
  {
    name: "outrider_bytes_total",
    type: "counter",
    help: "Body bytes passed, and all bytes of tunnels; up is towards the upstream.",
    of: (m) => [
      [[["direction", "up"]], m.bytesUp],
      [[["direction", "down"]], m.bytesDown],
    ],
  },
  {
    name: "outrider_grpc_responses_total",
    type: "counter",
    help: "Responses of gRPC calls, by grpc-status (0 is OK).",
    of: (m) => m.grpcResponses.map(({ status, count }) => [[["grpc_status", String(status)]], count]),
  },
  counter(
    "outrider_tunnels_total",
    "Tunnels that ended: CONNECT, Upgrade, protocol tcp.",
    (m) => m.tunnels.count,
  ),
  counter(
    "outrider_tunnel_seconds_total",
    "Time that tunnels were open, of those that ended.",
    (m) => m.tunnels.openMs / 1000,
  ),
  {
    name: "outrider_tunnel_bytes_total",
    type: "counter",
    help: "Bytes of tunnels that ended, which outrider_bytes_total holds too; up is towards the upstream.",
    of: (m) => [
      [[["direction", "up"]], m.tunnels.bytesUp],
      [[["direction", "down"]], m.tunnels.bytesDown],
    ],
  },
  counter("outrider_hedges_total", "Tries at once beyond the first.", (m) => m.stages.hedges),
  counter("outrider_hedges_won_total", "Those that were answered first.", (m) => m.stages.hedgesWon),
  labelled(
    "outrider_breaker_transitions_total",
    "Circuit breakers that took a state.",
    "state",
    (m) => m.stages.breakerTransitions,
  ),
  {
    name: "outrider_breakers",
    type: "gauge",
    help: "Circuit breakers that are not closed, by state; one for each upstream of a route.",
    of: (m) => Object.entries(m.stages.breakers).map(([state, count]) => [[["state", state]], count]),
  },
  counter("outrider_ejections_total", "Endpoints that were ejected.", (m) => m.stages.ejections),
  labelled(
    "outrider_limited_total",
    "Calls that a limit or a budget refused, by stage.",
    "stage",
    (m) => m.stages.limited,
  ),
  labelled("outrider_split_total", "Calls that a split sent elsewhere.", "host", (m) => m.stages.splits),
  labelled(
    "outrider_served_total",
    "Answers in place of a failure: fallback or stale.",
    "served",
    (m) => m.stages.served,
  ),
  labelled("outrider_faults_total", "Faults on purpose.", "fault", (m) => m.stages.faults),
  {
    name: "outrider_mirrored_total",
    type: "counter",
    help: "Copies of calls, by how their answers compare.",
    of: (m) => MIRROR_RESULTS.map((result) => [[["result", result]], m.stages.mirrored[result]]),
  },
  {
    name: "outrider_mirror_seconds_total",
    type: "counter",
    help: "Time to the head of the answer, of copies that were compared and of their calls.",
    of: (m) => [
      [[["of", "copy"]], m.stages.mirrorMs.copy / 1000],
      [[["of", "primary"]], m.stages.mirrorMs.primary / 1000],
    ],
  },
  counter(
    "outrider_skipped_total",
    "Parts of the policy that were left out for a call, for instance because of its signature.",
    (m) => m.stages.skipped,
  ),
];

/** The histograms of each destination, in the order of the text. */
const HISTOGRAMS: readonly {
  readonly name: string;
  readonly help: string;
  readonly of: (metrics: DestinationMetrics) => HistogramSnapshot;
}[] = [
  {
    name: "outrider_call_duration_seconds",
    help: "Whole calls, to the last byte.",
    of: (m) => m.duration,
  },
  {
    name: "outrider_queue_duration_seconds",
    help: "Waiting for a token or a slot, of the calls that waited.",
    of: (m) => m.queue,
  },
];

/** The families without a destination. */
const PROCESS_FAMILIES: readonly (Family & { readonly of: (snapshot: MetricsSnapshot) => number })[] = [
  { name: "outrider_calls_open", type: "gauge", help: "Calls in flight.", of: (s) => s.openCalls },
  { name: "outrider_tunnels_open", type: "gauge", help: "Tunnels that are open.", of: (s) => s.openTunnels },
  {
    name: "outrider_interception_refused_total",
    type: "counter",
    help: "Clients that refused the certificate of the sandbox's own CA.",
    of: (s) => s.interceptionRefusals,
  },
  {
    name: "outrider_telemetry_dropped_records_total",
    type: "counter",
    help: "Records lost on the way to the log.",
    of: (s) => s.droppedRecords,
  },
  {
    name: "outrider_telemetry_errors_total",
    type: "counter",
    help: "Exceptions inside telemetry that were kept from calls.",
    of: (s) => s.internalErrors,
  },
];

/** The whole exposition, ending in a newline. */
export function prometheusText(snapshot: MetricsSnapshot): string {
  const lines: string[] = [];
  for (const family of DESTINATION_FAMILIES) {
    lines.push(...heading(family.name, family.type, family.help));
    for (const metrics of snapshot.destinations) {
      for (const [labels, value] of family.of(metrics)) {
        lines.push(sample(family.name, [["destination", metrics.destination], ...labels], value));
      }
    }
  }
  for (const { name, help, of } of HISTOGRAMS) {
    lines.push(...heading(name, "histogram", help));
    for (const metrics of snapshot.destinations) {
      lines.push(...histogram(name, metrics.destination, of(metrics)));
    }
  }
  for (const family of PROCESS_FAMILIES) {
    lines.push(
      ...heading(family.name, family.type, family.help),
      sample(family.name, [], family.of(snapshot)),
    );
  }
  lines.push(
    ...heading("outrider_policy_info", "gauge", "Always 1; the version of the policy in force."),
    sample("outrider_policy_info", [["version", snapshot.policyVersion]], 1),
  );
  return `${lines.join("\n")}\n`;
}

/** A label's value as the format wants it: backslash, double quote and line feed escaped. */
export function labelValue(text: string): string {
  return text.replace(/[\\"\n]/g, (char) => (char === "\n" ? "\\n" : `\\${char}`));
}

function counter(name: string, help: string, read: (metrics: DestinationMetrics) => number) {
  return {
    name,
    type: "counter",
    help,
    of: (m: DestinationMetrics): readonly Sample[] => [[[], read(m)]],
  } as const;
}

function labelled(
  name: string,
  help: string,
  label: string,
  read: (metrics: DestinationMetrics) => readonly LabelCount[],
) {
  return {
    name,
    type: "counter",
    help,
    of: (m: DestinationMetrics): readonly Sample[] =>
      read(m).map(({ label: value, count }) => [[[label, value]], count]),
  } as const;
}

function heading(name: string, type: string, help: string): [string, string] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`];
}

function sample(name: string, labels: Labels, value: number): string {
  if (labels.length === 0) return `${name} ${value}`;
  return `${name}{${labels.map(([label, text]) => `${label}="${labelValue(text)}"`).join(",")}} ${value}`;
}

/** Cumulative buckets in seconds, the last one `+Inf`, then sum and count. */
function histogram(
  name: string,
  destinationName: string,
  { counts, sumMs, count }: HistogramSnapshot,
): string[] {
  const destination = ["destination", destinationName] as const;
  let below = 0;
  const buckets = counts.map((inBucket, at) => {
    const boundMs = DURATION_BOUNDS_MS[at];
    below += inBucket;
    return sample(
      `${name}_bucket`,
      [destination, ["le", boundMs === undefined ? "+Inf" : String(boundMs / 1000)]],
      below,
    );
  });
  return [
    ...buckets,
    sample(`${name}_sum`, [destination], sumMs / 1000),
    sample(`${name}_count`, [destination], count),
  ];
}
