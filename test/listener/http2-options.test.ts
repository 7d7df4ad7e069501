import { describe, expect, test } from "vitest";
import { sessionOptions } from "../../src/listener/http2-options.ts";
import { testConfig } from "../kit/proxy.ts";

describe("the bounds of an HTTP/2 session", () => {
  const limits = { ...testConfig().limits, streamsMax: 7, headerCountMax: 10, headBytesMax: 1000 };

  test("follow the policy's limits", () => {
    expect(sessionOptions(limits)).toMatchObject({
      settings: { maxConcurrentStreams: 7, initialWindowSize: 262_144, maxHeaderListSize: 2896 },
      maxHeaderListPairs: 28,
    });
  });

  test("offer neither push nor CONNECT for other protocols", () => {
    expect(sessionOptions(limits).settings).toMatchObject({
      enablePush: false,
      enableConnectProtocol: false,
    });
  });

  test("are all stated", () => {
    const { settings, ...rest } = sessionOptions(limits);
    expect(Object.values({ ...settings, ...rest })).not.toContain(undefined);
    expect(Object.keys(rest).filter((name) => /^max/.test(name)).length).toBe(7);
  });
});
