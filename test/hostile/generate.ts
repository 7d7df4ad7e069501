/**
 * HTTP messages from a seed: mostly right, often a little wrong, in the places where parsers have disagreed before. Each comes with
 * a plain second message behind it, so that a body read too long or too short shows.
 */

/** A source of numbers that a seed determines. */
export interface Dice {
  /** 0 ≤ x < `sides`, whole. */
  roll(sides: number): number;
  pick<T>(choices: readonly T[]): T;
  /** True in `percent` of 100. */
  chance(percent: number): boolean;
}

/** mulberry32: small, fast and good enough to choose test cases. */
export function diceOf(seed: number): Dice {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const roll = (sides: number): number => Math.floor(next() * sides);
  return {
    roll,
    pick: (choices) => choices[roll(choices.length)]!,
    chance: (percent) => roll(100) < percent,
  };
}

/** The message behind each generated one. */
export const SECOND_REQUEST = "GET /second HTTP/1.1\r\nHost: second\r\n\r\n";

const METHODS = ["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "CONNECT", "QUERY", "M-SEARCH"];
const ODD_METHODS = [
  "get",
  "FOO",
  "GETX",
  "PRI",
  "SOURCE",
  "ANNOUNCE",
  "G\tET",
  "",
  "P OST",
  "GET\r\n",
  "\x80GET",
];
const TARGETS = [
  "/",
  "/a?b=c",
  "http://a.example/x",
  "*",
  "a.example:443",
  "/%00",
  "//x",
  '/"<>{}|\\^`',
  "/a;b",
];
const ODD_TARGETS = ["", "/a b", "/\t", "/a#b", "/\x7f", "/\xe9", "/\r", "http://", "?"];
const VERSIONS = ["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"];
const ODD_VERSIONS = [
  "HTTP/0.9",
  "HTTP/2.0",
  "HTTP/1.2",
  "HTTP/1",
  "HTTP/11",
  "http/1.1",
  "RTSP/1.0",
  "ICE/1.0",
  "",
  "HTTP/1.1 ",
];
const STATUSES = ["200", "200", "200", "204", "304", "404", "500", "100", "103", "101"];
const ODD_STATUSES = ["20", "2000", "099", " 200", "2x0", "", "200\t", "+200", "-20"];
const REASONS = [" OK", " ", "", "  two", " D\xfc", " \t"];
const ODD_REASONS = ["\tOK", " O\rK", " O\0K", " \x7f"];
const LENGTHS = ["5", "5", "0", "05", "10"];
const ODD_LENGTHS = [
  "+5",
  "-5",
  "0x5",
  "5,5",
  "5, 5",
  "5 5",
  "",
  "5.0",
  "5e0",
  "\xa05",
  "5\xa0",
  "\x855",
  "\x0b5",
  "5;",
  "99999999999999999999",
  "½",
];
const CODINGS = ["chunked", "chunked", "Chunked", "CHUNKED", "chunked ", "\tchunked"];
const ODD_CODINGS = [
  "gzip, chunked",
  "chunked, gzip",
  "chunked, chunked",
  "xchunked",
  "chunked;a=b",
  '"chunked"',
  "\xa0chunked",
  "chunked\xa0",
  "\x0bchunked",
  "identity",
  "",
  "chunked,",
  ", chunked",
  "chun ked",
  "gzip",
  "chunke\u00eb",
];
const FIELDS = [
  "X-A: 1",
  "x-b:2",
  "X-C:\t3\t",
  "X-D:",
  "X-E: D\xfcsseldorf",
  "Connection: keep-alive",
  "Connection: close",
  "Connection: X-A, close",
  "Connection: upgrade",
  "Upgrade: websocket",
  "Expect: 100-continue",
  "TE: trailers",
  "Trailer: X-Sum",
  "Cookie: a=b; c=d",
  "__proto__: 1",
  "constructor: 2",
];
const ODD_FIELDS = [
  "Host: b.example",
  "Host: b, c",
  "X-A : 1",
  "X A: 1",
  " X-A: 1",
  "X-A: 1\r\n folded",
  "X-A: 1\r\n\tfolded",
  "X-A: 1\rX-B: 2",
  "X-A: 1\nX-B: 2",
  "X-A",
  ": 1",
  "X-A\0: 1",
  "X-A: \0",
  "X-A: \x0b",
  "X-A: \x7f",
  "X-\xe9: 1",
  "X(A): 1",
  "Content-Length : 5",
  "Transfer-Encoding\t: chunked",
  "Transfer_Encoding: chunked",
  "Content-Length\xa0: 5",
  "Expect: 200-ok",
];
const SIZES = ["5", "05", "5;a", "5;a=b", '5;a="b\\"c"'];
const ODD_SIZES = [
  "5 ",
  "5\t",
  " 5",
  "+5",
  "-5",
  "0x5",
  "5 ;a",
  "5; a",
  "5;",
  "5;a=",
  '5;a="b',
  "5\r",
  "5_",
  "g",
  "",
  "5;\0",
  "ffffffffffffffff5",
  "00000000000000005",
];
/** Bytes that one parser or another treats in a way of its own. */
const TRICKY = [
  "\r",
  "\n",
  "\r\n",
  "\0",
  " ",
  "\t",
  ":",
  ";",
  ",",
  "\x0b",
  "\x0c",
  "\x7f",
  "\x85",
  "\xa0",
  "\xff",
  "0",
  "A",
];

/** A request, the second one behind it. */
export function generateRequest(dice: Dice): string {
  const method = oneOf(dice, METHODS, ODD_METHODS);
  const line = `${method}${gap(dice)}${oneOf(dice, TARGETS, ODD_TARGETS)}${gap(dice)}${oneOf(dice, VERSIONS, ODD_VERSIONS)}`;
  const lead = dice.chance(5) ? dice.pick(["\r\n", "\r\n\r\n", "\n", "\r", " "]) : "";
  return mutate(dice, `${lead}${line}${end(dice)}${headAndBody(dice)}${SECOND_REQUEST}`);
}

/** A response; nothing behind it. */
export function generateResponse(dice: Dice): string {
  const line = `${oneOf(dice, VERSIONS, ODD_VERSIONS)}${gap(dice)}${oneOf(dice, STATUSES, ODD_STATUSES)}${oneOf(dice, REASONS, ODD_REASONS)}`;
  const lead = dice.chance(5) ? dice.pick(["\r\n", "\n", " ", "HTTP/1.1 100 Continue\r\n\r\n"]) : "";
  return mutate(dice, `${lead}${line}${end(dice)}${headAndBody(dice)}`);
}

function headAndBody(dice: Dice): string {
  const fields = Array.from({ length: dice.roll(4) }, () => oneOf(dice, FIELDS, ODD_FIELDS));
  if (dice.chance(85)) fields.unshift("Host: h.example");
  const framings = dice.chance(8) ? 2 : dice.chance(80) ? 1 : 0;
  let chunked = false;
  for (let i = 0; i < framings; i++) {
    chunked = dice.chance(50);
    const field = chunked
      ? `${dice.pick(["Transfer-Encoding", "transfer-encoding"])}:${dice.pick([" ", "", "\t", "  "])}${oneOf(dice, CODINGS, ODD_CODINGS)}`
      : `${dice.pick(["Content-Length", "content-length"])}:${dice.pick([" ", "", "\t", "  "])}${oneOf(dice, LENGTHS, ODD_LENGTHS)}`;
    fields.splice(dice.roll(fields.length + 1), 0, field);
  }
  const head = fields.map((field) => field + end(dice)).join("");
  return `${head}${end(dice)}${framings === 0 ? "" : chunked ? chunks(dice) : "hello"}`;
}

function chunks(dice: Dice): string {
  let body = "";
  for (let count = dice.roll(3); count > 0; count--) {
    body += `${oneOf(dice, SIZES, ODD_SIZES)}${end(dice)}hello${end(dice)}`;
  }
  const trailer = dice.chance(20) ? `${oneOf(dice, FIELDS, ODD_FIELDS)}${end(dice)}` : "";
  return `${body}${dice.pick(["0", "0", "000", "0;a"])}${end(dice)}${trailer}${end(dice)}`;
}

const oneOf = (dice: Dice, right: readonly string[], odd: readonly string[]): string =>
  dice.pick(dice.chance(6) ? odd : right);
const gap = (dice: Dice): string => (dice.chance(2) ? dice.pick(["  ", "\t", ""]) : " ");
const end = (dice: Dice): string => (dice.chance(2) ? dice.pick(["\n", "\r", "\r\r\n", "\n\n", ""]) : "\r\n");

/** Sometimes one to three bytes go wrong, anywhere. */
function mutate(dice: Dice, message: string): string {
  let text = message;
  for (let count = dice.chance(40) ? 1 + dice.roll(3) : 0; count > 0; count--) {
    const at = dice.roll(text.length);
    const cut = dice.pick([0, 1, 1, 2]);
    text = text.slice(0, at) + (dice.chance(70) ? dice.pick(TRICKY) : "") + text.slice(at + cut);
  }
  return text;
}
