/**
 * Changes requests on the way out: the beginning of the path, header fields, feature flags that a sandbox draws once.
 *
 * Stands inside the retry loop, next to the upstream, so that every attempt leaves the same. What a signature covers is left as it is,
 * because a changed request would be refused: a signed path (AWS Signature Version 4 signs every path), a signed header. The trail
 * says so. Tunnels are left alone.
 */
import type { RewriteOptions } from "../config/types.ts";
import type { EgressRequest, FieldLines, Policy } from "../exchange.ts";
import { fieldValue } from "../http1/fields.ts";
import { type FieldChange, fieldChanges, fieldRewriter, rewriteFields } from "./rewrite-fields.ts";
import { rewritePath } from "./rewrite-path.ts";
import type { SandboxDraw } from "./sandbox-draw.ts";
import { type SignedParts, signedParts } from "./signed-parts.ts";

const STAGE = "rewrite";

const NOTHING: readonly string[] = [];

/** What leaves in place of a request's own head, and what was left as it is for its signature. */
interface Rewritten {
  readonly path: string;
  readonly fields: FieldLines;
  /** `path`, or names of headers. */
  readonly left: readonly string[];
}

/** The stage. */
export function rewrite(options: RewriteOptions, sandbox: SandboxDraw): Policy {
  const draw = (header: string): number => sandbox(`flag ${header}`);
  // Made at once, to find at loading what cannot be written; anew when the sandbox has drawn anew (`sandbox-draw.ts`).
  let drawn = sandbox("");
  let changes = preparedChanges(options, draw);
  const changesNow = (): PreparedChanges => {
    if (options.flags.length > 0 && sandbox("") !== drawn) {
      drawn = sandbox("");
      changes = preparedChanges(options, draw);
    }
    return changes;
  };
  return (next) => (request) => {
    if (request.method === "CONNECT") return next(request);
    const { path, fields, left } = rewriteHead(request, options, changesNow());
    if (left.length > 0 && request.attempt === 1) {
      request.trail.push({ kind: "skipped", stage: STAGE, why: `the signature covers ${left.join(", ")}` });
    }
    if (path === request.path && fields === request.fields) return next(request);
    return next(request.with({ path, fields }));
  };
}

/** Changes of fields, and the function that applies all of them. */
interface PreparedChanges {
  readonly list: readonly FieldChange[];
  readonly apply: (fields: FieldLines) => FieldLines;
}

function preparedChanges(options: RewriteOptions, draw: (header: string) => number): PreparedChanges {
  const list = fieldChanges(options, draw);
  return { list, apply: fieldRewriter(list) };
}

/** The decision for one request. */
function rewriteHead(
  { path, fields }: Pick<EgressRequest, "path" | "fields">,
  { pathPrefix, pathReplacement }: Pick<RewriteOptions, "pathPrefix" | "pathReplacement">,
  { list, apply }: PreparedChanges,
): Rewritten {
  const rewritten = rewritePath(path, pathPrefix, pathReplacement);
  const signed = signedParts(fields, path);
  if (signed === null) return { path: rewritten, fields: apply(fields), left: NOTHING };
  return rewriteSigned(path, rewritten, fields, list, signed);
}

function rewriteSigned(
  path: string,
  rewritten: string,
  fields: FieldLines,
  changes: readonly FieldChange[],
  signed: SignedParts,
): Rewritten {
  const pathLeft = signed.path && rewritten !== path;
  const free = changes.filter(({ name }) => !signed.covers(name));
  // To remove what is not there would have changed nothing.
  const left = changes.filter(
    ({ name, line }) => signed.covers(name) && (line !== "" || fieldValue(fields, name) !== undefined),
  );
  const names = left.map(({ name }) => name);
  return {
    path: pathLeft ? path : rewritten,
    fields: rewriteFields(fields, free),
    left: pathLeft ? ["path", ...names] : names,
  };
}
