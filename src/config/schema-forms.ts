/**
 * The forms of values that the policy file knows, as schemas with messages that a user can act on: quantities, words, lists,
 * mappings.
 *
 * Owns how one kind of value is checked and described; which keys exist is in `schema.ts`. These two files are the only
 * importers of the schema library. `title` is what the reference page and editors show as the value's form.
 */
import * as z from "zod";
import { nearest } from "./nearest.ts";
import { show } from "./show.ts";
import {
  DURATION_PATTERN,
  parseDuration,
  parseRate,
  parseSize,
  RATE_PATTERN,
  SIZE_PATTERN,
} from "./units.ts";

// The library may otherwise compile validators with `new Function`, which a hardened Node forbids.
z.config({ jitless: true });

/** The message for a value that is not there. */
const REQUIRED = "is required";

/** The message for a value of the wrong type; `form` reads behind "must be". */
function mustBe(form: string) {
  return {
    error: ({ input }: { readonly input?: unknown }) =>
      input === undefined ? REQUIRED : `must be ${form}, not ${show(input)}`,
  };
}

/** A text; `problem` says in a clause what is wrong with one, or `null`. */
export function text(form: string, problem: (value: string) => string | null, pattern?: string) {
  return z
    .string(mustBe(form))
    .superRefine((value, context) => {
      const what = problem(value);
      if (what !== null) context.addIssue({ code: "custom", message: `${show(value)}: ${what}` });
    })
    .meta({ title: form, ...(pattern === undefined ? {} : { pattern: `^${pattern}$` }) });
}

/** As `text`, for one that may hold a secret by mistake: messages do not repeat it. */
export function unrepeatedText(form: string, problem: (value: string) => string | null) {
  return z
    .string({ error: ({ input }) => (input === undefined ? REQUIRED : `must be ${form}`) })
    .superRefine((value, context) => {
      const what = problem(value);
      if (what !== null) context.addIssue({ code: "custom", message: what });
    })
    .meta({ title: form });
}

/** A kind of quantity with a unit. */
interface Quantity {
  readonly kind: string;
  readonly examples: string;
  readonly pattern: string;
  readonly parse: (value: string) => number | null;
}

const DURATION: Quantity = {
  kind: "a duration",
  examples: "250ms, 8s, 2m or 1h",
  pattern: DURATION_PATTERN,
  parse: parseDuration,
};
const SIZE: Quantity = {
  kind: "a size",
  examples: "64KiB, 16kB or 1MiB",
  pattern: SIZE_PATTERN,
  parse: parseSize,
};
const RATE: Quantity = {
  kind: "a rate",
  examples: "100/s, 600/m or 30/h",
  pattern: RATE_PATTERN,
  parse: parseRate,
};

/** Bounds of a quantity, in its own notation, both included; `off` allows that word too. */
interface Bounds {
  readonly min: string;
  readonly max: string;
  readonly off?: boolean;
}

function quantity({ kind, examples, pattern, parse }: Quantity, { min, max, off }: Bounds) {
  const orOff = off ? ", or off" : "";
  const problem = (value: string) => {
    if (off && value === "off") return null;
    const amount = parse(value);
    if (amount === null) return `write ${kind} such as ${examples}${orOff}`;
    return amount >= parse(min)! && amount <= parse(max)! ? null : `must be within ${min} to ${max}${orOff}`;
  };
  const schema = text(`${kind} such as ${examples}${orOff}`, problem, off ? `(off|${pattern})` : pattern);
  return schema.meta({ title: `${kind} (${min} to ${max})${orOff}` });
}

/** `250ms`, `8s`, `2m`, `1h`. */
export const duration = (bounds: Bounds) => quantity(DURATION, bounds);

/** `64KiB`, `16kB`, `1MiB`. */
export const size = (bounds: Bounds) => quantity(SIZE, bounds);

/** `100/s`, `600/m`, `30/h`. */
export const rate = (bounds: Bounds) => quantity(RATE, bounds);

/** A whole number, both bounds included. */
export function whole(min: number, max: number) {
  const form = `a whole number (${min} to ${max})`;
  return z.int(mustBe(form)).min(min, mustBe(form)).max(max, mustBe(form)).meta({ title: form });
}

/** A whole number, both bounds included, or the word `off`. */
export function wholeOrOff(min: number, max: number) {
  const form = `a whole number (${min} to ${max}), or off`;
  const number = z.int(mustBe(form)).min(min, mustBe(form)).max(max, mustBe(form));
  return z.union([number, z.literal("off")], mustBe(form)).meta({ title: form });
}

/** A number from 0 to 1. */
export function ratio() {
  const form = "a number (0 to 1)";
  return z.number(mustBe(form)).min(0, mustBe(form)).max(1, mustBe(form)).meta({ title: form });
}

/** One of a closed set of words. */
export function oneOf<const T extends readonly [string, ...string[]]>(...words: T) {
  const title = `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
  const error = ({ input }: { readonly input?: unknown }) => {
    if (input === undefined) return REQUIRED;
    const meant = typeof input === "string" ? nearest(input, words) : null;
    return `must be ${title}, not ${show(input)}${meant === null ? "" : `; did you mean "${meant}"?`}`;
  };
  return z.enum(words, { error }).meta({ title });
}

/** A number from above 0 to 1, or the word `off`. */
export function ratioOrOff() {
  const form = "a number (above 0, to 1), or off";
  const number = z.number(mustBe(form)).gt(0, mustBe(form)).max(1, mustBe(form));
  return z.union([number, z.literal("off")], mustBe(form)).meta({ title: form });
}

/** A number of hundredths, above 0. */
export function percent() {
  const form = "a number (above 0, to 100)";
  return z.number(mustBe(form)).gt(0, mustBe(form)).max(100, mustBe(form)).meta({ title: form });
}

/** A number, both bounds included. */
export function number(min: number, max: number) {
  const form = `a number (${min} to ${max})`;
  return z.number(mustBe(form)).min(min, mustBe(form)).max(max, mustBe(form)).meta({ title: form });
}

/** A text as of `text`, or the word `off`. */
export function textOrOff(form: string, problem: (value: string) => string | null) {
  return text(`${form}, or off`, (value) => (value === "off" ? null : problem(value)));
}

/** `true` or `false`. */
export const yesOrNo = () => z.boolean(mustBe("true or false")).meta({ title: "true or false" });

/** A list of at most `itemsMax` values; `of` names them. */
export function list<T extends z.ZodType>(of: string, item: T, itemsMax: number) {
  const title = `a list of ${of}`;
  return z
    .array(item, mustBe(title))
    .max(itemsMax, { error: `has more than ${itemsMax} entries` })
    .meta({ title });
}

/** A list of at least one and at most `itemsMax` values. */
export function nonEmptyList<T extends z.ZodType>(of: string, item: T, itemsMax: number) {
  return list(of, item, itemsMax).min(1, { error: "must not be empty" });
}

/** A number or a text; `isValid` decides, `form` says what is, `anyOf` says it to editors. */
export function numberOrText(
  form: string,
  isValid: (value: number | string) => boolean,
  anyOf: readonly object[],
) {
  const error = ({ input }: { readonly input?: unknown }) => `must be ${form}, not ${show(input)}`;
  return z.union([z.number(), z.string()], { error }).refine(isValid, { error }).meta({ title: form, anyOf });
}

/** Exactly this value. */
export function exactly<const T extends number>(value: T, remedy: string) {
  const error = ({ input }: { readonly input?: unknown }) =>
    input === undefined ? `${REQUIRED}; ${remedy}` : `must be ${value}, not ${show(input)}; ${remedy}`;
  return z.literal(value, { error }).meta({ title: String(value) });
}

/** A mapping with exactly these keys; `id` names it in the JSON Schema and in the reference page. */
export function mapping<const T extends z.ZodRawShape>(id: string, description: string, shape: T) {
  return z.strictObject(shape, mustBe("a mapping of keys to values")).meta({ id, description });
}

/** A mapping as of `mapping`, or the word `off`, which takes back what an outer level states. */
export function mappingOrOff<const T extends z.ZodRawShape>(id: string, description: string, shape: T) {
  const form = "a mapping of keys to values, or off";
  return z.union([z.literal("off"), mapping(id, description, shape)], mustBe(form));
}
