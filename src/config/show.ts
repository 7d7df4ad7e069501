/** How values and keys of a file are quoted in messages: short, on one line, and with nothing that a terminal would obey. */

/** Characters of a value that a message repeats. */
const SHOWN_LENGTH_MAX = 60;

/** A value as a message shows it: texts and numbers as they are, collections only by kind. */
export function show(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a mapping";
  return typeof value === "string" ? quote(value) : String(value);
}

/** The path of a key as users read it: `destinations[0].retry.max_retries`. */
export function showPath(path: readonly PropertyKey[]): string {
  return path
    .map((step, i) => {
      if (typeof step === "number") return `[${step}]`;
      const key = String(step);
      return /^[A-Za-z0-9_-]{1,60}$/.test(key) ? `${i === 0 ? "" : "."}${key}` : `[${quote(key)}]`;
    })
    .join("");
}

function quote(text: string): string {
  const short = text.length > SHOWN_LENGTH_MAX ? `${text.slice(0, SHOWN_LENGTH_MAX)}…` : text;
  return JSON.stringify(short).replace(
    /[\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
