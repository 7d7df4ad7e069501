/** Another beginning for a path. Pure. */

/**
 * `path` (origin form, query included) with `replacement` in place of `prefix`, which covers whole segments; `path` itself when it
 * does not begin so. The rest of the path and the query keep their bytes. Same results as ReplacePrefixMatch of the Gateway API
 * (HTTPPathModifier), except that a prefix that ends with a slash does not match the path without it, as in `routes`.
 *
 * @param prefix "" for none; begins with a slash
 * @param replacement "" and "/" take the prefix away
 */
export function rewritePath(path: string, prefix: string, replacement: string): string {
  if (prefix === "" || !path.startsWith(prefix)) return path;
  const rest = path.slice(prefix.endsWith("/") ? prefix.length - 1 : prefix.length);
  if (rest !== "" && !rest.startsWith("/") && !rest.startsWith("?")) return path;
  const beginning =
    replacement.endsWith("/") && rest.startsWith("/") ? replacement.slice(0, -1) : replacement;
  const rewritten = beginning + rest;
  return rewritten.startsWith("/") ? rewritten : `/${rewritten}`;
}
