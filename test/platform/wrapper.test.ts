/** The exec wrapper of the layer: what it sets, what it keeps, and that the runtime is started as it would be without it. */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

/** Stands for a runtime: says what it was started with. */
const RUNTIME = "process.stdout.write(JSON.stringify({ env: process.env, args: process.argv.slice(1) }))";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "outrider-wrapper-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Started {
  readonly env: Readonly<Record<string, string>>;
  readonly args: readonly string[];
  readonly errors: string;
}

/** Starts the runtime through the wrapper. `portFile` is what the extension wrote; `null` for nothing. */
function start(
  env: Record<string, string>,
  portFile: string | null = null,
  args: readonly string[] = [],
): Started {
  const tmp = mkdtempSync(join(folder, "tmp-"));
  if (portFile !== null) writeFileSync(join(tmp, "outrider.port"), portFile);
  const { stdout, stderr, status } = spawnSync(
    resolve("dist/layer/opt/outrider-wrapper"),
    [process.execPath, "-e", RUNTIME, ...args],
    {
      env: { PATH: "/usr/bin:/bin", TMPDIR: tmp, AWS_LAMBDA_RUNTIME_API: "169.254.100.1:9001", ...env },
      encoding: "utf8",
    },
  );
  if (status !== 0) throw new Error(`the wrapper ended with ${status}: ${stderr}`);
  return { ...(JSON.parse(stdout) as Omit<Started, "errors">), errors: stderr };
}

describe("the wrapper", () => {
  test("sets nothing when the extension stands aside", () => {
    const { env, args } = start({}, "off\n", ["a b"]);
    expect(Object.keys(env).filter((name) => /proxy/i.test(name))).toEqual([]);
    expect(args).toEqual(["a b"]);
  });

  test("names the proxy in every variable that a client reads, in both cases", () => {
    const { env } = start({}, "40123\n");
    for (const name of ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "grpc_proxy"]) {
      expect([name, env[name]]).toEqual([name, "http://127.0.0.1:40123"]);
    }
    expect(env.NODE_USE_ENV_PROXY).toBe("1");
  });

  test("keeps this sandbox, the Runtime API and the metadata services off the proxy", () => {
    const { env } = start({});
    expect(env.NO_PROXY).toBe(env.no_proxy);
    expect(env.NO_PROXY!.split(",")).toEqual([
      "localhost",
      "127.0.0.1",
      "::1",
      "169.254.100.1",
      "169.254.100.1",
      "169.254.169.254",
      "169.254.170.2",
      "169.254.170.23",
      "fd00:ec2::254",
      "fd00:ec2::23",
      "sandbox.localdomain",
      "metadata.google.internal",
      "metadata",
    ]);
  });

  test("keeps the user's own exceptions, in whichever case they were given", () => {
    const { env } = start({ NO_PROXY: "a.example,.b.example", no_proxy: "c.example" });
    expect(env.NO_PROXY!.split(",").slice(-3)).toEqual(["a.example", ".b.example", "c.example"]);
    expect(env.no_proxy).toBe(env.NO_PROXY);
  });

  test("replaces a proxy that the function's configuration names", () => {
    const { env } = start({ HTTP_PROXY: "http://other:1", https_proxy: "http://other:1" }, "40123\n");
    expect([env.HTTP_PROXY, env.https_proxy]).toEqual(["http://127.0.0.1:40123", "http://127.0.0.1:40123"]);
  });

  test.each([
    ["the extension's port before OUTRIDER_PORT", "40123\n", { OUTRIDER_PORT: "5000" }, 40123],
    ["a port without a line feed", "40123", {}, 40123],
    ["OUTRIDER_PORT when the extension wrote none", null, { OUTRIDER_PORT: "5000" }, 5000],
    ["4140 when nobody says", null, {}, 4140],
    ["OUTRIDER_PORT instead of an empty file", "", { OUTRIDER_PORT: "5000" }, 5000],
    ["4140 instead of words", "localhost:80\n", {}, 4140],
    ["4140 instead of a command", "$(reboot)\n", {}, 4140],
    ["4140 instead of a negative number", "-1\n", {}, 4140],
    ["4140 instead of port 0", "0\n", {}, 4140],
    ["4140 instead of a number that is no port", "140123\n", {}, 4140],
  ] as const)("takes %s", (_what, portFile, env, port) => {
    expect(start(env, portFile).env.HTTP_PROXY).toBe(`http://127.0.0.1:${port}`);
  });

  test("touches nobody's trust, and Java not at all, when no TLS is opened", () => {
    const own = { SSL_CERT_FILE: "/a", NODE_EXTRA_CA_CERTS: "/b", JAVA_TOOL_OPTIONS: "-Dx=y" };
    const { env } = start(own, "40123\n");
    expect(env).toMatchObject(own);
    const trusts = [
      "REQUESTS_CA_BUNDLE",
      "CURL_CA_BUNDLE",
      "AWS_CA_BUNDLE",
      "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    ];
    expect(trusts.filter((name) => name in env)).toEqual([]);
    expect("JAVA_TOOL_OPTIONS" in start({}, "40123\n").env).toBe(false);
  });

  test("hands on the runtime's arguments unchanged", () => {
    const args = ["two words", "it's", 'say "hi"', "$HOME", "*", "", "back\\slash", "line\nfeed"];
    const started = start({}, null, ["--", ...args]);
    expect(started.args).toEqual(args);
    expect(started.errors).toBe("");
  });

  test("starts the next wrapper with the runtime and its arguments", () => {
    const next = join(folder, "next wrapper");
    writeFileSync(next, '#!/bin/sh\nexport NEXT="$HTTP_PROXY $#"\nexec "$@"\n');
    chmodSync(next, 0o755);
    const { env, args } = start({ OUTRIDER_NEXT_WRAPPER: next }, "40123\n", ["--", "two words"]);
    expect(env.NEXT).toBe("http://127.0.0.1:40123 5");
    expect(args).toEqual(["two words"]);
  });

  test("says nothing when the port file cannot be read", () => {
    const tmp = mkdtempSync(join(folder, "broken-"));
    expect(start({ TMPDIR: join(tmp, "missing") }).errors).toBe("");
  });
});

/** What a JVM makes of JAVA_TOOL_OPTIONS: it prints the properties that it is asked for. */
const PROPERTIES = `public class Properties {
  public static void main(String[] names) {
    for (String name : names) System.out.println(System.getProperty(name));
  }
}`;

const hasJava = spawnSync("java", ["--version"]).status === 0;

describe("the wrapper, when TLS is opened", () => {
  const TRUST = "40123\n/tmp/outrider ca\n";
  const DIRECTORY = "/tmp/outrider ca";

  test("points every client at the files, in place of what the function had", () => {
    const { env } = start({ SSL_CERT_FILE: "/own.pem", NODE_EXTRA_CA_CERTS: "/own.pem" }, TRUST);
    expect(env.HTTP_PROXY).toBe("http://127.0.0.1:40123");
    expect(env.NODE_EXTRA_CA_CERTS).toBe(`${DIRECTORY}/extra-ca.pem`);
    for (const name of [
      "SSL_CERT_FILE",
      "REQUESTS_CA_BUNDLE",
      "CURL_CA_BUNDLE",
      "AWS_CA_BUNDLE",
      "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    ]) {
      expect([name, env[name]]).toEqual([name, `${DIRECTORY}/bundle.pem`]);
    }
  });

  test("takes a directory without a line feed behind it", () => {
    expect(start({}, "40123\n/tmp/x").env.SSL_CERT_FILE).toBe("/tmp/x/bundle.pem");
  });

  test("gives Java the proxy, the trust store and the hosts without a proxy, behind the user's own options", () => {
    const { env } = start(
      { JAVA_TOOL_OPTIONS: "-Xmx64m", AWS_LAMBDA_RUNTIME_API: "169.254.100.1:9001" },
      TRUST,
    );
    expect(env.JAVA_TOOL_OPTIONS!.split(" -D")).toEqual([
      "-Xmx64m",
      "http.proxyHost=127.0.0.1",
      "http.proxyPort=40123",
      "https.proxyHost=127.0.0.1",
      "https.proxyPort=40123",
      expect.stringMatching(/^http\.nonProxyHosts=localhost\|127\.\*\|\[::1\]\|/),
      `javax.net.ssl.trustStore="${DIRECTORY}/truststore.p12"`,
      "javax.net.ssl.trustStoreType=PKCS12",
      "javax.net.ssl.trustStorePassword=changeit",
    ]);
  });

  test("leaves Java a trust store of the user's own", () => {
    const own = "-Djavax.net.ssl.trustStore=/own.jks -Djavax.net.ssl.trustStorePassword=own";
    const options = start({ JAVA_TOOL_OPTIONS: own }, TRUST).env.JAVA_TOOL_OPTIONS!;
    expect(options.startsWith(`${own} -Dhttp.proxyHost=`)).toBe(true);
    expect(options.match(/trustStore/g)).toHaveLength(2);
  });

  test.each([
    ["names and addresses as they are", "a.example,10.0.0.1", "a.example|10.0.0.1"],
    ["suffixes with a star", ".b.example", "*.b.example"],
    ["stars as they are", "*.c.example", "*.c.example"],
    ["addresses of IPv6 in brackets", "fd00::1", "[fd00::1]"],
    ["entries behind a space", "a.example, b.example", "a.example|b.example"],
    [
      "no ranges, no ports, nothing that would end the option",
      '10.0.0.0/8,h:80,a b,"x",$(id),c.example',
      "c.example",
    ],
    ["nothing twice for a comma too many", ",,a.example,,", "a.example"],
  ])("divides Java's hosts without a proxy: %s", (_what, NO_PROXY, hosts) => {
    const options = start({ NO_PROXY }, TRUST).env.JAVA_TOOL_OPTIONS!;
    expect(/nonProxyHosts=(\S+)/.exec(options)![1]).toMatch(
      new RegExp(`\\|metadata\\|${hosts.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}$`),
    );
  });

  test.skipIf(!hasJava)("is understood by a JVM (skipped where Java is not installed)", () => {
    const program = join(folder, "Properties.java");
    writeFileSync(program, PROPERTIES);
    const { env } = start({ JAVA_TOOL_OPTIONS: "-Dhttp.proxyPort=1" }, TRUST);
    const names = ["http.proxyHost", "http.proxyPort", "https.proxyPort", "javax.net.ssl.trustStore"];
    const { stdout } = spawnSync("java", [program, ...names], {
      env: { PATH: process.env.PATH!, JAVA_TOOL_OPTIONS: env.JAVA_TOOL_OPTIONS! },
      encoding: "utf8",
    });
    expect(stdout.trim().split("\n")).toEqual(["127.0.0.1", "40123", "40123", `${DIRECTORY}/truststore.p12`]);
  });
});
