/** The limits that the codec's tests use: the defaults of the policy file. */
import type { HeadLimits } from "../../src/http1/request-head.ts";

/** See the file's header. */
export const LIMITS: HeadLimits = { headBytesMax: 16_384, headerCountMax: 128, targetBytesMax: 8192 };
