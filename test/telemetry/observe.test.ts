/** Observing changes nothing. */
import { PassThrough } from "node:stream";
import { describe, expect, test } from "vitest";
import { Body } from "../../src/body.ts";
import { EgressError } from "../../src/errors.ts";
import { type EgressRequest, EgressResponse, type Send } from "../../src/exchange.ts";
import { ObservedCall, observe, type Witness } from "../../src/telemetry/observe.ts";
import { aRequest, aResponse } from "./calls.ts";

class Notes implements Witness {
  readonly ends: ObservedCall[] = [];
  readonly tunnels: ObservedCall[] = [];
  readonly stumbles: unknown[] = [];

  began(request: EgressRequest): ObservedCall {
    return new ObservedCall(request, null);
  }

  tunnelled(call: ObservedCall): void {
    this.tunnels.push(call);
  }

  ended(call: ObservedCall): void {
    this.ends.push(call);
  }

  stumbled(error: unknown): void {
    this.stumbles.push(error);
  }
}

/** What a CONNECT that succeeded is answered with. */
const tunnelOpen = () =>
  new EgressResponse(200, "", "", Body.of(""), {
    socket: new PassThrough(),
    head: new Uint8Array(0),
    protocol: "",
  });

describe("an observed call", () => {
  test("gets the very promise, request and response that it would get unobserved", async () => {
    const response = aResponse();
    const sent = Promise.resolve(response);
    let seen: EgressRequest | null = null;
    const send: Send = (request) => {
      seen = request;
      return sent;
    };
    const request = aRequest();
    expect(observe(new Notes())(send)(request)).toBe(sent);
    expect(seen).toBe(request);
    expect(await sent).toBe(response);
  });

  test("is told of when its last byte has passed, not when its head has", async () => {
    const notes = new Notes();
    const request = aRequest();
    const response = await observe(notes)(async () => aResponse(201))(request);
    expect(notes.ends).toEqual([]);
    request.settled.fire({ error: null });
    request.settled.fire({ error: null });
    expect(notes.ends).toHaveLength(1);
    expect(notes.ends[0]).toMatchObject({ request, response, error: null });
  });

  test("that is rejected keeps its own error, whatever became of the reply", async () => {
    const notes = new Notes();
    const request = aRequest();
    const reset = new EgressError("UPSTREAM_RESET", "x");
    await expect(observe(notes)(() => Promise.reject(reset))(request)).rejects.toBe(reset);
    request.settled.fire({ error: new EgressError("CLIENT_GONE", "x") });
    expect(notes.ends[0]!.error).toBe(reset);
    expect(notes.ends[0]!.response).toBeNull();
  });

  test("that ends while it is still being sent has the error with which it ended", () => {
    const notes = new Notes();
    const request = aRequest();
    void observe(notes)(() => new Promise(() => {}))(request);
    const gone = new EgressError("CLIENT_GONE", "x");
    request.settled.fire({ error: gone });
    expect(notes.ends[0]).toMatchObject({ error: gone, response: null });
  });

  test("that becomes a tunnel is told of when the tunnel stands, other calls are not", async () => {
    const notes = new Notes();
    const send = observe(notes);
    await send(async () => aResponse())(aRequest());
    expect(notes.tunnels).toEqual([]);
    const request = aRequest({ method: "CONNECT" });
    await send(async () => tunnelOpen())(request);
    expect(notes.tunnels).toEqual([expect.objectContaining({ request, tunnel: true })]);
  });

  test("whose tunnel stands after everything is over has none", async () => {
    const notes = new Notes();
    const request = aRequest({ method: "CONNECT" });
    const sent = observe(notes)(async () => tunnelOpen())(request);
    request.settled.fire({ error: new EgressError("CLIENT_GONE", "x") });
    await sent;
    expect(notes.tunnels).toEqual([]);
    expect(notes.ends[0]).toMatchObject({ tunnel: false });
  });

  test("is not disturbed by a witness that throws when its tunnel stands", async () => {
    const notes = new Notes();
    notes.tunnelled = () => {
      throw new Error("no memory");
    };
    const response = tunnelOpen();
    expect(await observe(notes)(async () => response)(aRequest())).toBe(response);
    expect(notes.stumbles).toHaveLength(1);
  });

  test("is not disturbed by a witness that throws at its beginning", async () => {
    const notes = new Notes();
    notes.began = () => {
      throw new Error("no memory");
    };
    const request = aRequest();
    const response = aResponse();
    expect(await observe(notes)(async () => response)(request)).toBe(response);
    request.settled.fire({ error: null });
    expect(notes.stumbles).toHaveLength(1);
  });

  test("is not disturbed by a witness that throws at its end", async () => {
    const notes = new Notes();
    notes.ended = () => {
      throw new Error("no memory");
    };
    const request = aRequest();
    await observe(notes)(async () => aResponse())(request);
    let laterListenerRan = false;
    request.settled.on(() => void (laterListenerRan = true));
    expect(request.settled.fire({ error: null })).toBe(true);
    expect(laterListenerRan).toBe(true);
    expect(notes.stumbles).toHaveLength(1);
  });
});
