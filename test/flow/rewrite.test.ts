/** Requests that are changed on the way out, judged by what the origin received. */
import { describe, expect, test } from "vitest";
import { field } from "../kit/message.ts";
import { answer, ok, scriptedOrigin } from "../kit/origin.ts";
import { get, type ProxyOptions, post, startProxy } from "../kit/proxy.ts";

type Rewrite = NonNullable<NonNullable<NonNullable<ProxyOptions["policy"]>["defaults"]>["rewrite"]>;

const withRewrite = (rewrite: Rewrite): ProxyOptions => ({ policy: { defaults: { rewrite } } });

const AWS =
  "Authorization: AWS4-HMAC-SHA256 Credential=AK/20261125/eu-west-1/s3/aws4_request, SignedHeaders=host;x-amz-date;x-tenant, Signature=00\r\n" +
  "X-Amz-Date: 20261125T000000Z\r\nX-Tenant: a\r\n";

describe("a rewrite", () => {
  test("changes the beginning of the path, keeps the rest to the byte, and sets and removes headers", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy(
      withRewrite({
        path_prefix: "/v1",
        path_replacement: "/v2",
        set_headers: [{ name: "X-Env", value: "prod" }],
        remove_headers: ["X-Debug"],
      }),
    );
    await proxy.ask(get(origin, "/v1/a%2Fb?c=/v1", "x-env: dev\r\nX-Keep: 1\r\nx-debug: 1\r\n"));
    expect(origin.requests[0]!.head).toBe(
      `GET /v2/a%2Fb?c=/v1 HTTP/1.1\r\nHost: ${origin.authority}\r\nX-Keep: 1\r\nX-Env: prod\r\n\r\n`,
    );
    await proxy.get(origin, "/v10");
    expect(origin.requests[1]!.startLine).toBe("GET /v10 HTTP/1.1");
  });

  test("leaves every attempt the same", async () => {
    await using origin = await scriptedOrigin([answer("HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n"), ok()]);
    const rewrite = {
      path_prefix: "/a",
      path_replacement: "/a/a",
      set_headers: [{ name: "X-Set", value: "1" }],
    };
    const retry = { max_retries: 1, backoff: { base: "1ms", max: "2ms" } };
    await using proxy = await startProxy({ policy: { defaults: { rewrite, retry } } });
    await proxy.get(origin, "/a/b");
    const [first, second] = origin.requests.map(({ head }) => head);
    expect(second).toBe(first);
    expect(first).toMatch(/^GET \/a\/a\/b .*\r\nX-Set: 1\r\n\r\n$/s);
  });

  test("changes nothing that an AWS signature covers", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy(
      withRewrite({
        path_prefix: "/",
        path_replacement: "/new",
        set_headers: [
          { name: "X-Tenant", value: "b" },
          { name: "X-Free", value: "1" },
        ],
        remove_headers: ["Authorization", "X-Amz-Date"],
      }),
    );
    await proxy.ask(get(origin, "/key", AWS));
    expect(origin.requests[0]!.head).toBe(
      `GET /key HTTP/1.1\r\nHost: ${origin.authority}\r\n${AWS}X-Free: 1\r\n\r\n`,
    );
  });

  test("never touches the framing or the host, whatever the body", async () => {
    await using origin = await scriptedOrigin([ok()]);
    await using proxy = await startProxy(withRewrite({ remove_headers: ["X-None"] }));
    await proxy.ask(post(origin, "abc"));
    expect(field(origin.requests[0]!, "content-length")).toBe("3");
    expect(origin.requests[0]!.body.toString()).toBe("abc");
  });
});

describe("a flag", () => {
  const FLAGS = {
    flags: [
      { header: "X-Flag", values: Array.from({ length: 30 }, (_, i) => ({ value: `v${i}`, weight: 1 })) },
    ],
  };

  test("is the same for all calls of a sandbox, on all its routes, and not the same in all sandboxes", async () => {
    await using origin = await scriptedOrigin([ok()]);
    const policy = {
      defaults: { rewrite: FLAGS },
      destinations: [
        { name: "api", hosts: ["127.0.0.1"], routes: [{ match: { path: "/a" }, timeout: "5s" }] },
      ],
    };
    const drawn = new Set<string>();
    for (let sandbox = 0; sandbox < 8; sandbox++) {
      await using proxy = await startProxy({ policy });
      proxy.lifecycle.workStarted("a", Number.POSITIVE_INFINITY, "");
      const from = origin.requests.length;
      for (const path of ["/a", "/b", "/a"]) await proxy.get(origin, path);
      const values = new Set(origin.requests.slice(from).map((request) => field(request, "x-flag")));
      expect(values.size).toBe(1);
      drawn.add([...values][0]!);
    }
    // By chance alone all eight are the same once in 30^7 runs.
    expect(drawn.size).toBeGreaterThan(1);
  });
});
