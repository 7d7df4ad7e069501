/** What the trust files hold, and that Java and OpenSSL read the trust store. */
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { createAuthority } from "../../src/identity/authority.ts";
import { certificatesIn } from "../../src/identity/pem.ts";
import { composeTrust, TRUST_FILE_NAMES, type TrustSources } from "../../src/identity/trust.ts";
import { TRUST_STORE_PASSWORD, trustStore } from "../../src/identity/trust-store.ts";
import { certificate } from "../kit/certificates.ts";
import { folder, has, openssl } from "./openssl.ts";

const pem = (): string => createAuthority(systemClock).certificatePem;
const [ours, root, other, extra] = [pem(), pem(), pem(), pem()];

/** The subjects of the certificates in a text, which tell them apart. */
const subjects = (text: string): string[] =>
  certificatesIn(text).map(({ block }) => new X509Certificate(block).subject);
const subject = (text: string): string => subjects(text)[0]!;

const compose = (sources: Partial<TrustSources> = {}) => {
  const files = composeTrust({
    authority: ours,
    systemRoots: root,
    userExtra: "",
    userBundles: [],
    ...sources,
  });
  return {
    names: [...files.keys()],
    text: (name: keyof typeof TRUST_FILE_NAMES) => String(files.get(TRUST_FILE_NAMES[name])),
    store: files.get(TRUST_FILE_NAMES.trustStore) as Buffer,
  };
};

describe("certificates in a text", () => {
  test("are found among comments, whatever the line ends, each once", () => {
    const text = `# Root A\r\n${root.replaceAll("\n", "\r\n")}\n\nRoot B\n${other}${root}`;
    expect(subjects(text)).toEqual([subject(root), subject(other)]);
  });

  test("are all that is taken: no keys, no half blocks, no other kinds", () => {
    const { cert } = certificate("server");
    expect(cert).toContain("PRIVATE KEY");
    const trusted = other.replaceAll("CERTIFICATE", "TRUSTED CERTIFICATE");
    const half = `-----BEGIN CERTIFICATE-----\nMIIB\n`;
    const found = certificatesIn(`${cert}${trusted}${half}`);
    expect(found.length).toBe(1);
    expect(found[0]!.block).not.toContain("PRIVATE KEY");
  });

  test("are none in a text that has none", () => {
    expect(certificatesIn("", "hello", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----")).toEqual([]);
  });
});

describe("the trust files", () => {
  test("are four", () => {
    expect(compose().names).toEqual(["ca.pem", "extra-ca.pem", "bundle.pem", "truststore.p12"]);
  });

  test("hold the authority alone", () => {
    expect(compose({ userExtra: extra, userBundles: [other] }).text("authority")).toBe(ours);
  });

  test("hold what is added: the authority and the user's own", () => {
    expect(subjects(compose().text("extra"))).toEqual([subject(ours)]);
    expect(subjects(compose({ userExtra: extra }).text("extra"))).toEqual([subject(ours), subject(extra)]);
  });

  test("hold what replaces: the system's roots, the user's own bundles, the authority; each certificate once", () => {
    const bundle = compose({ userExtra: extra, userBundles: ["", `${other}${root}`, other] }).text("bundle");
    expect(subjects(bundle)).toEqual([subject(root), subject(other), subject(ours)]);
  });

  test("S10 hold no key, although the user's files do", () => {
    const { cert } = certificate("client");
    expect(cert).toContain("PRIVATE KEY");
    const { text, store } = compose({ userExtra: cert, userBundles: [cert], systemRoots: cert });
    for (const content of [text("extra"), text("bundle"), store.toString("latin1")])
      expect(content).not.toContain("PRIVATE KEY");
    expect(subjects(text("bundle")).length).toBe(2);
  });

  test.skipIf(!has("openssl", "version"))("are read by OpenSSL", () => {
    using at = folder();
    const bundle = at.file("bundle.pem", compose({ userBundles: [other] }).text("bundle"));
    expect(openssl(["storeutl", "-noout", "-certs", bundle])).toContain("Total found: 3");
  });
});

/** Prints the subjects of all authorities that the JVM trusts by its properties. */
const TRUSTED = `
import java.security.KeyStore;
import java.security.cert.X509Certificate;
import javax.net.ssl.*;
public class Trusted {
  public static void main(String[] arguments) throws Exception {
    TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    factory.init((KeyStore) null);
    for (X509Certificate one : ((X509TrustManager) factory.getTrustManagers()[0]).getAcceptedIssuers())
      System.out.println(one.getSubjectX500Principal().getName());
  }
}`;

describe("the trust store", () => {
  const store = compose({ userBundles: [other] }).store;
  const password = ["-passin", `pass:${TRUST_STORE_PASSWORD}`];

  test.skipIf(!has("openssl", "version"))(
    "is PKCS#12 with a MAC that OpenSSL verifies, and certificates in clear",
    () => {
      using at = folder();
      const file = at.file("truststore.p12", store);
      const shown = openssl(["pkcs12", "-in", file, "-nokeys", ...password]);
      expect(subjects(shown)).toEqual([subject(root), subject(other), subject(ours)]);
      expect(shown).toContain("2.16.840.1.113894.746875.1.1");
      expect(() => openssl(["pkcs12", "-in", file, "-nokeys", "-passin", "pass:wrong"])).toThrow(
        /mac verify/i,
      );
    },
  );

  test.skipIf(!has("openssl", "version"))("may be empty", () => {
    using at = folder();
    const file = at.file("truststore.p12", trustStore([]));
    expect(openssl(["pkcs12", "-in", file, "-nokeys", ...password])).toBe("");
  });

  test.skipIf(!has("keytool", "-help"))(
    "holds trusted certificates for keytool (skipped where Java is not installed)",
    () => {
      using at = folder();
      const file = at.file("truststore.p12", store);
      const listed = execFileSync(
        "keytool",
        ["-list", "-keystore", file, "-storepass", TRUST_STORE_PASSWORD],
        {
          encoding: "utf8",
        },
      );
      expect(listed).toContain("Keystore type: PKCS12");
      expect(listed).toContain("Your keystore contains 3 entries");
      expect(listed.match(/trustedCertEntry/g)).toHaveLength(3);
    },
  );

  test.skipIf(!has("java", "--version"))(
    "is what a JVM trusts that is given it by properties (skipped where Java is not installed)",
    () => {
      using at = folder();
      const file = at.file("truststore.p12", store);
      const program = at.file("Trusted.java", TRUSTED);
      const trusted = execFileSync(
        "java",
        [
          `-Djavax.net.ssl.trustStore=${file}`,
          "-Djavax.net.ssl.trustStoreType=PKCS12",
          `-Djavax.net.ssl.trustStorePassword=${TRUST_STORE_PASSWORD}`,
          program,
        ],
        { encoding: "utf8" },
      );
      expect(trusted.trim().split("\n").sort()).toEqual([root, other, ours].map(subject).sort());
    },
    60_000,
  );
});
