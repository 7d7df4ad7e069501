import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { rewritableHeaderProblem } from "../../src/config/notation.ts";
import type { RewriteOptions } from "../../src/config/types.ts";
import { rewrite } from "../../src/policy/rewrite.ts";
import {
  chooseFlag,
  fieldChanges,
  rewriteFields,
  UNWRITABLE_FIELDS,
} from "../../src/policy/rewrite-fields.ts";
import { rewritePath } from "../../src/policy/rewrite-path.ts";
import { answer, call, ScriptedUpstream, trailOf } from "./calls.ts";

const options = (changes: Partial<RewriteOptions> = {}): RewriteOptions => ({
  pathPrefix: "",
  pathReplacement: "",
  setHeaders: [],
  removeHeaders: [],
  flags: [],
  ...changes,
});

describe("a path with another beginning", () => {
  // The first ten rows are the table of HTTPPathModifier in the Gateway API.
  test.each([
    ["/foo/bar", "/foo", "/xyz", "/xyz/bar"],
    ["/foo/bar", "/foo", "/xyz/", "/xyz/bar"],
    ["/foo/bar", "/foo/", "/xyz", "/xyz/bar"],
    ["/foo/bar", "/foo/", "/xyz/", "/xyz/bar"],
    ["/foo", "/foo", "/xyz", "/xyz"],
    ["/foo/", "/foo", "/xyz", "/xyz/"],
    ["/foo/bar", "/foo", "", "/bar"],
    ["/foo/", "/foo", "", "/"],
    ["/foo", "/foo", "", "/"],
    ["/foo/", "/foo", "/", "/"],
    ["/foo", "/foo", "/", "/"],
    ["/foo", "/foo", "/xyz/", "/xyz/"],
    ["/foo?a=/foo&b", "/foo", "/xyz", "/xyz?a=/foo&b"],
    ["/foo?a", "/foo", "", "/?a"],
    ["/foo/a%2Fb/../c?d=%20", "/foo", "/x", "/x/a%2Fb/../c?d=%20"],
    ["/a?b", "/", "/api", "/api/a?b"],
    ["/", "/", "/api", "/api/"],
    ["/foo//bar", "/foo", "/x/", "/x//bar"],
  ])("%s, %s for %s: %s", (path, prefix, replacement, rewritten) => {
    expect(rewritePath(path, prefix, replacement)).toBe(rewritten);
  });

  test.each([
    ["another segment", "/foobar", "/foo"],
    ["another case", "/Foo/bar", "/foo"],
    ["the prefix with an escape", "/%66oo", "/foo"],
    ["a prefix with a slash behind it", "/foo", "/foo/"],
    ["OPTIONS *", "*", "/"],
    ["no prefix", "/foo", ""],
  ])("is untouched: %s", (_, path, prefix) => {
    expect(rewritePath(path, prefix, "/xyz")).toBe(path);
  });
});

describe("header fields", () => {
  const rewritten = (fields: string, changes: Partial<RewriteOptions>, draw = 0) =>
    rewriteFields(
      fields,
      fieldChanges(options(changes), () => draw),
    );

  test("are removed, all of the name, whatever its case", () => {
    expect(rewritten("A: 1\r\nx-gone: 2\r\nX-Gone: 3\r\nB: 4\r\n", { removeHeaders: ["X-GONE"] })).toBe(
      "A: 1\r\nB: 4\r\n",
    );
  });

  test("are set in place of what is there, the rest keeps its order and case", () => {
    const setHeaders = [{ name: "X-Set", value: "new" }];
    expect(rewritten("x-set: old\r\nA: 1\r\nX-SET: older\r\n", { setHeaders })).toBe(
      "A: 1\r\nX-Set: new\r\n",
    );
  });

  test("may be set to nothing, which is not the same as removed", () => {
    expect(rewritten("", { setHeaders: [{ name: "X-Empty", value: "" }] })).toBe("X-Empty: \r\n");
  });

  test("are as they were where nothing is asked for", () => {
    const fields = "A: 1\r\n";
    expect(rewritten(fields, {})).toBe(fields);
  });

  test.each([...UNWRITABLE_FIELDS])("%s cannot be set, nor removed, nor be a flag", (name) => {
    const values = [{ value: "x", weight: 1 }];
    const draw = () => 0;
    expect(() => fieldChanges(options({ setHeaders: [{ name, value: "x" }] }), draw)).toThrow(RangeError);
    expect(() => fieldChanges(options({ removeHeaders: [name.toUpperCase()] }), draw)).toThrow(RangeError);
    expect(() => fieldChanges(options({ flags: [{ header: name, values }] }), draw)).toThrow(RangeError);
    expect(rewritableHeaderProblem(name)).not.toBe(null);
  });

  test("a value that would end its line is none", () => {
    const setHeaders = [{ name: "X", value: "a\r\nHost: evil" }];
    expect(() => fieldChanges(options({ setHeaders }), () => 0)).toThrow(RangeError);
  });
});

describe("a flag", () => {
  const values = [
    { value: "on", weight: 1 },
    { value: "never", weight: 0 },
    { value: "off", weight: 3 },
  ];

  test.each([
    [0, "on"],
    [0.2499, "on"],
    [0.25, "off"],
    [0.9999, "off"],
  ])("drawn at %d is %s", (point, value) => {
    expect(chooseFlag(values, point)).toBe(value);
  });

  test("without any weight is not sent", () => {
    expect(chooseFlag([{ value: "x", weight: 0 }], 0)).toBe(null);
  });
});

describe("the stage", () => {
  const AWS =
    "Authorization: AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host;x-amz-date;x-signed, Signature=0\r\nX-Signed: 1\r\n";

  function scene(changes: Partial<RewriteOptions>, draw: (purpose: string) => number = () => 0) {
    const upstream = new ScriptedUpstream(new VirtualClock(), answer());
    return { upstream, send: rewrite(options(changes), draw)(upstream.send) };
  }

  test("changes path and headers of what is sent", async () => {
    const { upstream, send } = scene({
      pathPrefix: "/v1",
      pathReplacement: "/v2",
      setHeaders: [{ name: "X-Env", value: "prod" }],
    });
    const request = call({ path: "/v1/x?q", fields: "A: 1\r\n" });
    await send(request);
    expect(upstream.requests[0]).toMatchObject({ path: "/v2/x?q", fields: "A: 1\r\nX-Env: prod\r\n" });
    expect(trailOf(request)).toEqual([]);
  });

  test("leaves a signed path and a signed header as they are, changes the others, and says so", async () => {
    const { upstream, send } = scene({
      pathPrefix: "/v1",
      pathReplacement: "/v2",
      setHeaders: [
        { name: "X-Signed", value: "2" },
        { name: "X-Free", value: "3" },
      ],
    });
    const request = call({ path: "/v1/x", fields: AWS });
    await send(request);
    expect(upstream.requests[0]).toMatchObject({ path: "/v1/x", fields: `${AWS}X-Free: 3\r\n` });
    expect(trailOf(request)).toEqual([
      { kind: "skipped", stage: "rewrite", why: "the signature covers path, x-signed" },
    ]);
  });

  test("says nothing of a signed request that it would not have changed", async () => {
    const { send } = scene({ pathPrefix: "/v1", pathReplacement: "/v2", removeHeaders: ["x-amz-meta-a"] });
    const request = call({ path: "/other", fields: AWS });
    await send(request);
    expect(trailOf(request)).toEqual([]);
  });

  test("says so once, however many attempts there are", async () => {
    const { send } = scene({ setHeaders: [{ name: "X-Signed", value: "2" }] });
    const request = call({ fields: AWS });
    await send(request);
    await send(request.with({ attempt: 2 }));
    expect(trailOf(request)).toHaveLength(1);
  });

  test("leaves tunnels alone", async () => {
    const { upstream, send } = scene({ setHeaders: [{ name: "X", value: "1" }] });
    await send(call({ method: "CONNECT", path: "api.example:443" }));
    expect(upstream.requests[0]!.fields).toBe("");
  });

  test("sends the flags that the sandbox has drawn, and draws anew only when the sandbox does", async () => {
    const values = [
      { value: "a", weight: 1 },
      { value: "b", weight: 1 },
    ];
    let drawn = 0.1;
    const { upstream, send } = scene({ flags: [{ header: "X-Flag", values }] }, () => drawn);
    await send(call());
    await send(call());
    drawn = 0.9;
    await send(call());
    expect(upstream.requests.map(({ fields }) => fields)).toEqual([
      "X-Flag: a\r\n",
      "X-Flag: a\r\n",
      "X-Flag: b\r\n",
    ]);
  });
});
