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
import { type FieldChange, fieldChanges, rewriteFields } from "./rewrite-fields.ts";
import { rewritePath } from "./rewrite-path.ts";
import type { SandboxDraw } from "./sandbox-draw.ts";
import { type SignedParts, signedParts } from "./signed-parts.ts";

const STAGE = "rewrite";

/** What leaves in place of a request's own head, and what was left as it is for its signature. */
export interface Rewritten {
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
  let changes = fieldChanges(options, draw);
  const changesNow = (): readonly FieldChange[] => {
    if (options.flags.length > 0 && sandbox("") !== drawn) {
      drawn = sandbox("");
      changes = fieldChanges(options, draw);
    }
    return changes;
  };
  return (next) => (request) => {
    if (request.method === "CONNECT") return next(request);
    const { path, fields, left } = rewriteHead(request, options, changesNow());
    if (left.length > 0 && request.attempt === 1) {
      request.trail.push({ kind: "skipped", stage: STAGE, why: `the signature covers ${left.join(", ")}` });
    }
    return next(request.with({ path, fields }));
  };
}

/** The decision for one request. */
export function rewriteHead(
  { path, fields }: Pick<EgressRequest, "path" | "fields">,
  { pathPrefix, pathReplacement }: Pick<RewriteOptions, "pathPrefix" | "pathReplacement">,
  changes: readonly FieldChange[],
): Rewritten {
  const rewritten = rewritePath(path, pathPrefix, pathReplacement);
  const signed = signedParts(fields, path);
  if (signed === null) return { path: rewritten, fields: rewriteFields(fields, changes), left: [] };
  return rewriteSigned(path, rewritten, fields, changes, signed);
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
