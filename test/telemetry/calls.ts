/** Calls for the tests of this room: requests, attempts and a chain that does as it is told. */

import { Body } from "../../src/body.ts";
import type { TelemetryConfig } from "../../src/config/types.ts";
import { EgressError } from "../../src/errors.ts";
import {
  type AttemptFacts,
  EgressRequest,
  EgressResponse,
  newAttempt,
  type RequestParts,
  type Send,
  type TrailEntry,
} from "../../src/exchange.ts";
import type { EventLog } from "../../src/telemetry/outlet.ts";

export const CONFIG: TelemetryConfig = {
  accessLog: "all",
  sampleRatio: 1,
  summary: true,
  flushCapMs: 20,
  destination: "stdout",
};

export function aRequest(
  parts: Partial<RequestParts> = {},
  trail: readonly TrailEntry[] = [],
): EgressRequest {
  const request = new EgressRequest({
    id: "call-1",
    method: "GET",
    scheme: "https",
    host: "api.pay.example",
    port: 443,
    path: "/v1/charges",
    fields: "",
    ...parts,
  });
  request.trail.push(...trail);
  return request;
}

export function anAttempt(facts: Partial<AttemptFacts> = {}): TrailEntry {
  return { kind: "attempt", attempt: { ...newAttempt(1, 0), ...facts } };
}

export function aResponse(status = 200, body = ""): EgressResponse {
  return new EgressResponse(status, "", "", Body.of(body));
}

/** A chain that answers at once with `status` and leaves `trail` behind. */
export function answering(status: number, trail: readonly TrailEntry[] = []): Send {
  return async (request) => {
    request.trail.push(...trail);
    return aResponse(status, "body");
  };
}

/** Sends one call through `send` and lets it end, as the listener would. */
export async function makeCall(send: Send, request: EgressRequest = aRequest()): Promise<void> {
  const error = await send(request).then(
    () => null,
    (reason: unknown) =>
      reason instanceof EgressError ? reason : new EgressError("INTERNAL", String(reason), reason),
  );
  request.settled.fire({ error });
}

/** A log in memory that takes lines until told to be stuck. */
export class MemoryLog implements EventLog {
  readonly lines: { level: string; fields: Record<string, unknown> }[] = [];
  full = false;
  idle = true;
  lostLines = 0;
  onProgress: (() => void) | null = null;

  write(level: string, fields: object): void {
    this.lines.push({ level, fields: { ...fields } });
  }

  send(): void {}

  /** From now on nothing reaches the kernel. */
  stick(): void {
    this.full = true;
    this.idle = false;
  }

  /** The kernel takes everything again. */
  unstick(): void {
    this.full = false;
    this.idle = true;
    this.onProgress?.();
  }

  of(event: string): Record<string, unknown>[] {
    return this.lines.filter((line) => line.fields.event === event).map((line) => line.fields);
  }
}
