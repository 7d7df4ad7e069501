/**
 * Takes secrets out of what telemetry writes: request targets and the texts of errors.
 *
 * Owns the list of names whose values are secret. Header fields and bodies never reach telemetry, so they are not treated here.
 * It errs on the side of hiding: a harmless value under a name that sounds secret is lost. All of it is linear in the input.
 */

/** What stands in place of a secret. */
export const REDACTED = "REDACTED";

/**
 * Parameter names whose values are secret, wherever the word stands in the name: presigned requests (`X-Amz-*`: AWS SigV4 query
 * authentication; `X-Goog-*`: Cloud Storage signed URLs; `sig`: Azure SAS), OAuth 2.0 (RFC 6749 §4, RFC 6750 §2.3), SAML,
 * sessions, API keys.
 */
const SECRET_NAME =
  /x-(?:amz|goog)-|token|signature|secret|passw|passphrase|credential|auth(?!or(?!i))|session|assertion|saml|cookie|jwt|bearer|key(?:id)?\W*(?=$|=)|(?:^|[-_.=/?&;#])(?:sig|pass|pwd|pw|pin|otp|code|sid)\W*(?=$|=)/i;

/** Where one parameter ends and the next begins, in a query, a fragment, path parameters (RFC 3986 §3.3) or running text. */
const SEPARATORS = /([?&;#\s])/;

/** A URL in a URL in a URL is looked into; what is wrapped deeper stays as it is. */
const DECODINGS_MAX = 3;

const SCHEME_MARK = "://";

/** A header field quoted in a text, to the end of its line. */
const SECRET_FIELD =
  /\b((?:proxy-)?authorization|(?:set-)?cookie|x-amz-security-token|x-api-key)(["']?\s*[:=]\s*)[^\r\n]+/gi;

/**
 * Credentials as `Authorization` carries them (RFC 6750 §2.1, RFC 7617 §2), named or not. 16 characters: shorter ones are
 * words.
 */
const SECRET_SCHEME = /\b(bearer|basic)\s+[\w.~+/=-]{16,}/gi;

/** PEM (RFC 7468), complete or cut off. */
const PEM = /-----BEGIN [^-]{1,64}-----[\s\S]*?(?:-----END [^-]{1,64}-----|$)/g;

/**
 * A request target with the values of secret parameters and any userinfo replaced by `REDACTED`, however often they are
 * percent-encoded up to three times. The same string when there is nothing to hide.
 */
export function redactTarget(target: string): string {
  if (target.indexOf("%") < 0 && target.indexOf("@") < 0 && !SECRET_NAME.test(target)) return target;
  return redactParameters(target, DECODINGS_MAX);
}

/**
 * A text, such as an error's message or stack, without quoted header values, bearer and basic credentials, PEM, and what
 * `redactTarget` hides.
 */
export function redactText(text: string): string {
  const plain = text
    .replace(PEM, REDACTED)
    .replace(SECRET_FIELD, `$1$2${REDACTED}`)
    .replace(SECRET_SCHEME, `$1 ${REDACTED}`);
  return redactTarget(plain);
}

function redactParameters(text: string, decodings: number): string {
  return redactUserinfo(text)
    .split(SEPARATORS)
    .map((piece) => redactParameter(piece, decodings))
    .join("");
}

/**
 * One `name=value`, or a piece of a path. The name reaches to the last `=` that is not padding, so `q=token=x` is hidden too.
 */
function redactParameter(piece: string, decodings: number): string {
  const equals = piece.indexOf("=");
  if (equals < 0) return hides(piece, decodings) ? REDACTED : piece;
  const name = piece.slice(0, piece.lastIndexOf("=", endWithoutPadding(piece)));
  if (hides(name, decodings)) return REDACTED;
  if (equals + 1 === piece.length) return piece;
  const secret = isSecretName(name) || hides(piece.slice(equals + 1), decodings);
  return secret ? `${piece.slice(0, equals)}=${REDACTED}` : piece;
}

function isSecretName(name: string): boolean {
  return SECRET_NAME.test(name.indexOf("%") < 0 ? name : percentDecoded(name));
}

/** Whether percent-decoding `text` uncovers something that has to be redacted. */
function hides(text: string, decodings: number): boolean {
  if (decodings === 0 || text.indexOf("%") < 0) return false;
  const decoded = percentDecoded(text);
  return redactParameters(decoded, decodings - 1) !== decoded;
}

function percentDecoded(text: string): string {
  return text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** Index of the last character that is not a `=`. */
function endWithoutPadding(piece: string): number {
  let end = piece.length - 1;
  while (end > 0 && piece.charCodeAt(end) === 61) end--;
  return end;
}

/** Userinfo (RFC 3986 §3.2.1) of every URL in `text`: what stands before the last `@` of its authority. */
function redactUserinfo(text: string): string {
  if (text.indexOf("@") < 0 || text.indexOf(SCHEME_MARK) < 0) return text;
  const [first, ...rest] = text.split(SCHEME_MARK);
  const clean = rest.map((part) => {
    const end = part.search(/[/?#\s]/);
    const at = part.lastIndexOf("@", end < 0 ? part.length : end);
    return at < 0 ? part : `${REDACTED}${part.slice(at)}`;
  });
  return [first, ...clean].join(SCHEME_MARK);
}
