/** The part of the policy file that sandboxes share: the store, and the rate limit service. As `schema.ts`, of which it is a part. */
import {
  domainProblem,
  hostPortProblem,
  keyPrefixProblem,
  storeProblem,
  variableProblem,
} from "./notation-fleet.ts";
import { duration, mapping, oneOf, text, unrepeatedText } from "./schema-forms.ts";

/** `fleet`. */
export const fleet = mapping(
  "fleet",
  "What sandboxes share: a store (Redis, Valkey) for `limits.fleet` and `circuit_breaker.shared`, and a rate limit service for `limits.descriptors`. No call waits for the store.",
  {
    store: unrepeatedText("redis://host:port, or rediss:// for TLS", storeProblem)
      .optional()
      .describe("`redis://host:port[/database]`, `rediss://` for TLS with a verified certificate."),
    password_env: text("a name of an environment variable", variableProblem)
      .optional()
      .describe("The environment variable that holds the store's password. Default: none."),
    prefix: text("a text of at most 64 characters", keyPrefixProblem)
      .optional()
      .describe("How the store's keys begin."),
    timeout: duration({ min: "1ms", max: "10s" })
      .optional()
      .describe("Bound of one command of the store, and of one question to the service."),
    on_failure: oneOf("open", "closed")
      .optional()
      .describe(
        "What happens while store or service cannot be reached. `open`: calls pass by what this sandbox knows alone; `closed`: calls that need a share or an answer are refused.",
      ),
    rate_limit_service: text("host:port", hostPortProblem)
      .optional()
      .describe(
        "A service that speaks Envoy's rate limit protocol (`envoy.service.ratelimit.v3`, over gRPC).",
      ),
    rate_limit_domain: text("a domain", domainProblem)
      .optional()
      .describe("`domain` of the questions to it."),
  },
);
