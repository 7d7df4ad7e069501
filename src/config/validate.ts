/**
 * A value as it was read → a policy file, or everything that is wrong with it. Each value by itself first (`schema.ts`), then all that
 * passed together (`cross-checks.ts`), so that one run shows every problem.
 */
import { systemClock } from "../clock.ts";
import { type CheckedFile, crossCheck } from "./cross-checks.ts";
import { unknownKeyMessage } from "./key-hints.ts";
import { errorAt, type Path, type Problem } from "./problem.ts";
import { type DestinationFile, type PolicyFile, policySchema, type SchemaIssue } from "./schema.ts";

/** The outcome of a validation; a valid file may have warnings. */
export type Validated =
  | { readonly ok: true; readonly file: PolicyFile; readonly warnings: readonly Problem[] }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** Validates the content of a policy file, as `read-yaml.ts` gives it; `wallMs` is the time that `fault.expires` is judged by, now unless given. */
export function validate(value: unknown, wallMs: number = systemClock.wall()): Validated {
  const parsed = policySchema.safeParse(value);
  if (parsed.success) {
    // The schema changes nothing, so the value is the file; unlike the library's copy, its mappings have no prototype.
    const file = value as PolicyFile;
    const findings = crossCheck({ ...file, destinations: file.destinations ?? [] }, wallMs);
    if (findings.some(({ severity }) => severity === "error")) return { ok: false, problems: findings };
    return { ok: true, file, warnings: findings };
  }
  const problems = parsed.error.issues.flatMap((issue) => problemsOf(issue));
  return { ok: false, problems: [...problems, ...crossCheck(soundParts(value, problems), wallMs)] };
}

/** What the schema did not refuse: whole sections and whole destinations, so that nothing is reported that only follows from a refused key. */
function soundParts(value: unknown, problems: readonly Problem[]): CheckedFile {
  if (!isMapping(value)) return { version: 1, destinations: [] };
  const refusedSections = new Set(problems.map(({ path }) => path[0]));
  const refusedDestinations = new Set(
    problems.map(({ path }) => (path[0] === "destinations" ? path[1] : null)),
  );
  const sections = Object.entries(value).filter(
    ([key]) => key !== "destinations" && !refusedSections.has(key),
  );
  const entries: readonly DestinationFile[] = Array.isArray(value.destinations) ? value.destinations : [];
  const destinations = entries.map((entry, i) => (refusedDestinations.has(i) ? null : entry));
  // A refused or missing `version` has no part in any check.
  const fleet = refusedSections.has("fleet") ? { fleet: null } : {};
  return { version: 1, ...Object.fromEntries(sections), ...fleet, destinations };
}

function problemsOf(issue: SchemaIssue, under: Path = []): Problem[] {
  const path = [...under, ...issue.path.map((step) => (typeof step === "symbol" ? String(step) : step))];
  if (issue.code === "unrecognized_keys") return issue.keys.map((key) => unknownKey(path, key));
  const inner = issue.code === "invalid_union" ? issue.errors.find(speaksOfInside) : undefined;
  return inner === undefined ? [errorAt(path, issue.message)] : inner.flatMap((of) => problemsOf(of, path));
}

/** Whether one form of several was meant, because what it refuses is not the value as a whole but something in it. */
function speaksOfInside(issues: readonly SchemaIssue[]): boolean {
  return (
    issues.length > 0 && issues.every(({ path, code }) => path.length > 0 || code === "unrecognized_keys")
  );
}

function unknownKey(path: Path, key: string): Problem {
  return { severity: "error", path: [...path, key], at: "key", message: unknownKeyMessage(path, key) };
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
