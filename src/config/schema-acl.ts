/** The part of the policy file that says which targets may be called. As `schema.ts`, of which it is a part. */
import {
  addressBlockProblem,
  hostPatternProblem,
  identityProblem,
  methodProblem,
  nameProblem,
  pathPrefixProblem,
} from "./notation.ts";
import { list, mapping, oneOf, text, whole } from "./schema-forms.ts";

/** Exceptions from the guard on addresses. */
export const allowAddresses = () =>
  list("address blocks", text("an address block", addressBlockProblem), 256);

const rule = mapping(
  "access_rule",
  "One rule. The first one that matches a call decides, before `access` of its destination. A list that is absent or empty matches everything; all lists have to match.",
  {
    name: text("a name", nameProblem).describe("Unique; logs call the rule `acl.rules.NAME`."),
    action: oneOf("allow", "deny").describe("What becomes of the calls that match."),
    hosts: list("hosts", text("a host", hostPatternProblem), 256)
      .optional()
      .describe("As `destinations[].hosts`."),
    ports: list("ports", whole(1, 65_535), 64).optional().describe("Ports of the calls."),
    methods: list("methods", text("a method", methodProblem), 32)
      .optional()
      .describe("Methods of the calls. Of a tunnel that is not looked into the method is `CONNECT`."),
    paths: list("paths", text("a path", pathPrefixProblem), 256)
      .optional()
      .describe(
        "Prefixes on whole segments: `/v1` matches `/v1` and `/v1/x`, not `/v10`. A tunnel that is not looked into has no path: a rule with paths does not match it.",
      ),
    identities: list("names", text("a name of a function or service", identityProblem), 64)
      .optional()
      .describe(
        'Functions or services that the rule is for (`AWS_LAMBDA_FUNCTION_NAME`, `K_SERVICE`, `OUTRIDER_IDENTITY`), with `*` at either end: `"orders-*"`.',
      ),
  },
);

/** `acl`. */
export const acl = mapping("acl", "Which targets may be called.", {
  default: oneOf("allow", "deny").optional().describe("The rule for hosts that no destination names."),
  mode: oneOf("observe", "report", "enforce")
    .optional()
    .describe(
      "`enforce` refuses what is denied, `report` lets it pass and notes it in the log, `observe` lets it pass.",
    ),
  private_ranges: oneOf("allow", "deny")
    .optional()
    .describe("Whether addresses of private networks (RFC 1918, RFC 4193, RFC 6598) may be called."),
  allow_addresses: allowAddresses()
    .optional()
    .describe(
      "Exceptions from the guard on addresses, for instance `127.0.0.1:8080` or `10.0.0.0/8`. Loopback, link-local and metadata addresses need one; a metadata service needs its exact address.",
    ),
  rules: list("rules", rule, 1000)
    .optional()
    .describe("Rules by host, port, method, path and function, in order."),
});
