/** The last good answer in place of a failure (RFC 5861 §4), through the whole proxy. */
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../src/clock.ts";
import { field } from "../kit/message.ts";
import { answer, drip, ok, reset, scriptedOrigin } from "../kit/origin.ts";
import { get, type ProxyOptions, post, startProxy } from "../kit/proxy.ts";

type Defaults = NonNullable<NonNullable<ProxyOptions["policy"]>["defaults"]>;

const withStale = (more: Defaults = {}): ProxyOptions => ({
  policy: { defaults: { stale_if_error: { max_age: "1m" }, ...more } },
});
const unavailable = answer("HTTP/1.1 503 x\r\nContent-Length: 3\r\n\r\nbad");

describe("stale-if-error", () => {
  test("serves the last good answer when the upstream breaks off or answers 503, and says how old it is", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([
      ok("prices", "Content-Type: text/plain\r\n"),
      reset(),
      unavailable,
      ok("new"),
    ]);
    await using proxy = await startProxy({ ...withStale(), clock });
    await proxy.get(origin, "/prices?of=all");
    await clock.advance(30_000);
    for (let i = 0; i < 2; i++) {
      const stale = await proxy.get(origin, "/prices?of=all");
      expect([stale.status, stale.body.toString()]).toEqual([200, "prices"]);
      expect([field(stale, "age"), field(stale, "outrider-served")]).toEqual(["30", "stale; age=30"]);
      expect([field(stale, "content-type"), field(stale, "warning")]).toEqual(["text/plain", undefined]);
    }
    const fresh = await proxy.get(origin, "/prices?of=all");
    expect([fresh.body.toString(), field(fresh, "outrider-served")]).toEqual(["new", undefined]);
    expect(origin.requests).toHaveLength(4);
  });

  test("serves an answer that came in pieces, to the byte", async () => {
    await using origin = await scriptedOrigin([
      drip(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "3\r\na\xffb\r\n",
        "2\r\ncd\r\n0\r\n\r\n",
      ),
      reset(),
    ]);
    await using proxy = await startProxy(withStale());
    expect((await proxy.get(origin)).body.toString("latin1")).toBe("a\xffbcd");
    const stale = await proxy.get(origin);
    expect(stale.body.toString("latin1")).toBe("a\xffbcd");
    expect(field(stale, "content-length")).toBe("5");
  });

  test("serves nothing older than max_age", async () => {
    const clock = new VirtualClock();
    await using origin = await scriptedOrigin([ok("old"), reset()]);
    await using proxy = await startProxy({ ...withStale(), clock });
    await proxy.get(origin);
    await clock.advance(61_000);
    expect((await proxy.get(origin)).status).toBe(502);
  });

  test.each([
    ["whose caller is named by Authorization", "Authorization: Bearer a\r\n", ""],
    ["whose caller is named by a cookie", "Cookie: id=a\r\n", ""],
    ["that is private", "", "Cache-Control: private\r\n"],
    ["that may not be stored", "", "Cache-Control: no-store\r\n"],
    ["that sets a cookie", "", "Set-Cookie: id=a\r\n"],
  ])("serves nobody an answer %s", async (_, asked, answered) => {
    await using origin = await scriptedOrigin([ok("mine", answered), reset()]);
    await using proxy = await startProxy(withStale());
    expect((await proxy.ask(get(origin, "/", asked))).body.toString()).toBe("mine");
    for (const fields of [asked, ""]) {
      const refused = await proxy.ask(get(origin, "/", fields));
      expect([refused.status, field(refused, "outrider-error")]).toEqual([502, "UPSTREAM_RESET"]);
    }
  });

  test("serves only whoever asks in the words that the answer was chosen by", async () => {
    await using origin = await scriptedOrigin([ok("deutsch", "Vary: Accept-Language\r\n"), reset()]);
    await using proxy = await startProxy(withStale());
    await proxy.ask(get(origin, "/", "Accept-Language: de\r\n"));
    expect((await proxy.ask(get(origin, "/", "Accept-Language: en\r\n"))).status).toBe(502);
    expect((await proxy.ask(get(origin, "/", "accept-language: de\r\n"))).body.toString()).toBe("deutsch");
  });

  test("is for GET alone", async () => {
    await using origin = await scriptedOrigin([ok("good"), reset()]);
    await using proxy = await startProxy(withStale());
    await proxy.get(origin);
    expect((await proxy.ask(post(origin, "x"))).status).toBe(502);
  });

  test("goes before the fallback, which is for what nothing is kept of", async () => {
    await using origin = await scriptedOrigin([ok("good"), reset()]);
    await using proxy = await startProxy(withStale({ fallback: { status: 200, body: "none" } }));
    await proxy.get(origin, "/a");
    expect((await proxy.get(origin, "/a")).body.toString()).toBe("good");
    expect((await proxy.get(origin, "/b")).body.toString()).toBe("none");
  });
});
