/** The part of the policy file for several places to dial. As `schema.ts`, of which it is a part. */
import { hostProblem } from "./notation.ts";
import { duration, list, mapping, oneOf, text, whole, wholeOrOff } from "./schema-forms.ts";

const endpoint = mapping(
  "endpoint",
  "A place where the destination's calls may be dialled. The host that is called, sent and verified stays as it is.",
  {
    host: text("a host", hostProblem).describe("Name or IP address."),
    port: whole(1, 65_535).describe("Port that is dialled."),
    priority: whole(0, 15)
      .optional()
      .describe(
        "Lower is tried first, for instance the own zone; the next is used when all before it are ejected. Default: 0.",
      ),
    weight: whole(1, 1000)
      .optional()
      .describe("Part of the calls, compared with the others of its priority. Default: 1."),
  },
);

/** `destinations[].endpoints`. */
export const endpoints = list("endpoints", endpoint, 64);

/** `destinations[].balance`. */
export const balance = mapping(
  "balance",
  "Which of `endpoints` takes a call, and which takes none for a while.",
  {
    algorithm: oneOf("least_request", "ewma", "round_robin")
      .optional()
      .describe(
        "`least_request`: of two drawn by weight the one with fewer calls in flight; `ewma`: the one whose answers came faster; `round_robin`: in turn.",
      ),
    eject_after: wholeOrOff(1, 1000).optional().describe("Failures in a row that eject an endpoint."),
    eject_for: duration({ min: "100ms", max: "1h" })
      .optional()
      .describe("Time until it is used again; it doubles with each time that it is ejected again."),
    eject_percent: whole(0, 100)
      .optional()
      .describe("Part of a priority's endpoints that may be ejected at once, percent."),
  },
);
