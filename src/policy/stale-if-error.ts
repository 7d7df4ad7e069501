/**
 * Serves the last good answer in place of a failure, up to a stated age (stale-if-error, RFC 5861 §4), marked with `Age` and
 * `Outrider-Served: stale`.
 *
 * No cache: every call goes to the upstream. Owns the answers of the route it is composed into, one for each target (the last one,
 * whatever its Vary chose it by); what may be kept and served is in stale-rules.ts. Stands inside `fallback`, which answers when
 * there is nothing to serve.
 */
import { Body } from "../body.ts";
import type { Clock } from "../clock.ts";
import type { StaleOptions } from "../config/types.ts";
import { asEgressError, EgressError } from "../errors.ts";
import { type EgressRequest, EgressResponse, type FieldLines, type Policy } from "../exchange.ts";
import { withoutFields } from "../http1/fields.ts";
import { failureCause, giveUp, handOn } from "./failure-cause.ts";
import { SERVED_FIELD } from "./fallback.ts";
import {
  invalidates,
  isKeepable,
  isSafe,
  keepingOf,
  mayServe,
  STALE_IF_STATUSES,
  staleKey,
  supersedes,
} from "./stale-rules.ts";
import { ageNowMs, StaleStore } from "./stale-store.ts";
import { tappedBody } from "./tapped-body.ts";

const REWRITTEN: ReadonlySet<string> = new Set(["age", SERVED_FIELD.toLowerCase()]);

/** The fields of a kept answer as it is served at `ageMs`. Age is in whole seconds (RFC 9111 §5.1). */
export function staleFields(fields: FieldLines, ageMs: number): FieldLines {
  const age = Math.floor(ageMs / 1000);
  return `${withoutFields(fields, REWRITTEN)}Age: ${age}\r\n${SERVED_FIELD}: stale; age=${age}\r\n`;
}

/** The stage. */
export function staleIfError(options: StaleOptions, clock: Clock): Policy {
  const store = new StaleStore(options);

  /** What may stand in for a failed answer to `request`, if anything. */
  function standIn(request: EgressRequest, why: string): EgressResponse | null {
    const kept = store.empty ? undefined : store.get(staleKey(request));
    if (kept === undefined) return null;
    const ageMs = ageNowMs(kept, clock);
    if (!mayServe(kept.keeping, ageMs, request)) return null;
    request.trail.push({ kind: "fallback", why, ageMs });
    return new EgressResponse(200, kept.reason, staleFields(kept.fields, ageMs), Body.of(kept.body));
  }

  /** Keeps what may be kept of an answer; returns it as it is to be handed on. */
  function keep(request: EgressRequest, response: EgressResponse): EgressResponse {
    if (supersedes(response.status)) forget(request);
    const keeping = keepingOf(request, response, options.maxAgeMs, clock.wall());
    const { body, reason, fields } = response;
    if (keeping === null || (body.length ?? 0) > options.bodyBytesMax) return response;
    const key = staleKey(request);
    const answer = { keeping, reason, fields, nowMs: clock.now(), wallMs: clock.wall() };
    const keepBody = (text: string) => store.keep(key, { ...answer, body: text });
    if (body.whole === null) return withBody(response, collected(body, store, keepBody));
    keepBody(body.whole);
    return response;
  }

  function forget(request: EgressRequest): void {
    if (!store.empty) store.forget(staleKey(request));
  }

  function answered(request: EgressRequest, outcome: EgressResponse | EgressError): EgressResponse {
    const why = failureCause(request, outcome, STALE_IF_STATUSES);
    if (why === null) return outcome instanceof EgressError ? handOn(outcome) : keep(request, outcome);
    const served = standIn(request, why);
    if (served === null) return handOn(outcome);
    giveUp(request, outcome);
    return served;
  }

  return (next) => (request) => {
    if (isKeepable(request)) {
      return next(request).then(
        (response) => answered(request, response),
        (error: unknown) => answered(request, asEgressError(error)),
      );
    }
    if (isSafe(request.method)) return next(request);
    return next(request).then((response) => {
      if (invalidates(request.method, response.status)) forget(request);
      return response;
    });
  };
}

function withBody({ status, reason, fields, tunnel }: EgressResponse, body: Body): EgressResponse {
  return new EgressResponse(status, reason, fields, body, tunnel);
}

/** `live`, a copy of which is given to `keepBody` when it has passed whole, without trailers and within the store's bounds. */
function collected(live: Body, store: StaleStore, keepBody: (text: string) => void): Body {
  let pieces: Uint8Array[] | null = [];
  let bytes = 0;
  const drop = () => {
    store.release(bytes);
    pieces = null;
    bytes = 0;
  };
  return tappedBody(live, {
    piece: (piece) => {
      if (pieces === null) return null;
      if (store.reserve(bytes, piece.length)) {
        pieces.push(piece);
        bytes += piece.length;
      } else drop();
      return null;
    },
    ended: (error, trailers) => {
      if (pieces === null) return;
      if (error === null && trailers === "") keepBody(Buffer.concat(pieces).latin1Slice());
      drop();
    },
  });
}
