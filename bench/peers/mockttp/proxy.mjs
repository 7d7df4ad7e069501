/**
 * A forward proxy made of mockttp: every request passes through, nothing is recorded, and it writes the authority that it made.
 * Usage: node proxy.mjs PORT FILE-FOR-ITS-AUTHORITY FILE-OF-THE-TRUSTED-ROOT
 */

import { writeFileSync } from "node:fs";
import { generateCACertificate, getLocal } from "mockttp";

const [port, authorityFile, trustedFile] = process.argv.slice(2);

const https = await generateCACertificate();
writeFileSync(authorityFile, https.cert);
const server = getLocal({ https, recordTraffic: false });
await server.forUnmatchedRequest().thenPassThrough({ additionalTrustedCAs: [{ certPath: trustedFile }] });
await server.start(Number(port));
