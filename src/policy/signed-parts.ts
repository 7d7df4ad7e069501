/**
 * Which parts of a request its signature covers, so that nothing changes them on the way: AWS Signature Version 4 and 4A
 * (`signature.ts`) and HTTP Message Signatures (RFC 9421). Pure. Other schemes are not known here.
 */
import type { FieldLines } from "../exchange.ts";
import { fieldValues } from "../http1/fields.ts";
import { isSigned, signedHeaders } from "./signature.ts";

/** See the file's header. */
export interface SignedParts {
  readonly path: boolean;
  readonly host: boolean;
  /** Whether the header `name` (lower case) must be neither set nor removed. */
  readonly covers: (name: string) => boolean;
}

/**
 * Headers that carry a signature, or that the verifier demands under it as soon as they are there (AWS IAM User Guide, "Create a
 * signed AWS API request": host, content-type and all x-amz-* headers of the request).
 */
const AWS_DEMANDED = /^(?:authorization|content-type|content-md5|x-amz-.*)$/;

/** Components of RFC 9421 §2.2 that are made of the path or its query. */
const PATH_COMPONENTS = ["@path", "@query", "@query-param", "@target-uri", "@request-target"];
const HOST_COMPONENTS = ["@authority", "@target-uri"];

/** What is covered of a request; `null` for one without a signature. */
export function signedParts(fields: FieldLines, path: string): SignedParts | null {
  const aws = signedHeaders(fields, path);
  if (aws !== "") {
    // The canonical request has the path and the query always; host is obligatory, and the list says so.
    return {
      path: true,
      host: isSigned(aws, "host"),
      covers: (name) => isSigned(aws, name) || AWS_DEMANDED.test(name),
    };
  }
  const inputs = fieldValues(fields, "signature-input");
  return inputs.length === 0 ? null : messageSignature(inputs);
}

/** Every string in the field counts as a component; those of its parameters (a key's id) are no names of headers that anybody sets. */
function messageSignature(inputs: readonly string[]): SignedParts {
  const components = new Set(
    [...inputs.join(",").matchAll(/"([^"]*)"/g)].map(([, name]) => name!.toLowerCase()),
  );
  return {
    path: PATH_COMPONENTS.some((name) => components.has(name)),
    host: HOST_COMPONENTS.some((name) => components.has(name)),
    covers: (name) => components.has(name) || name === "signature" || name === "signature-input",
  };
}
