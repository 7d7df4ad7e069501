/** What arrived → the call that goes on its way. Pure. */
import type { Body } from "../body.ts";
import { EgressRequest } from "../exchange.ts";
import type { RequestHead } from "../http1/request-head.ts";
import type { ListenerRole, Target } from "./target.ts";

/** The call that a request with `head` for `target` stands for, come to a listener of `role` at `startedMs` (`Clock.now()`). */
export function captureRequest(
  head: RequestHead,
  target: Target,
  role: ListenerRole,
  body: Body,
  id: string,
  startedMs: number,
): EgressRequest {
  return new EgressRequest({
    id,
    destination: role.kind === "local" ? role.destination : "",
    method: head.method,
    scheme: target.scheme,
    host: target.host,
    port: target.port,
    path: target.path,
    fields: head.fields,
    body,
    expectContinue: head.expectContinue,
    upgrade: head.upgrade,
    teTrailers: head.teTrailers,
    hasLength: head.hasLength,
    startedMs,
  });
}
