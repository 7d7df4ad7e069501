import type { Socket } from "node:net";
import { expect, test } from "vitest";
import { EgressError } from "../../src/errors.ts";
import { type AttemptFacts, EgressRequest, newAttempt } from "../../src/exchange.ts";
import { SharedDial } from "../../src/upstream/shared-dial.ts";

const socket = {} as Socket;

const request = (): EgressRequest =>
  new EgressRequest({ method: "GET", scheme: "http", host: "a", port: 80, path: "/", fields: "" });

const facts = (): AttemptFacts => newAttempt(1, 0);

const reason = (): EgressError => new EgressError("CLIENT_GONE", "test");

test("a connection that is one call's own goes to the first that waits", async () => {
  const dial = new SharedDial();
  const waiting = [dial.join(request(), facts()), dial.join(request(), facts())];
  expect(dial.connected(socket)).toBe(true);
  expect(await Promise.all(waiting)).toEqual([socket, null]);
});

test("a connection that is shared goes to nobody in particular, and each call learns how it was dialled", async () => {
  const dial = new SharedDial();
  const [one, other] = [facts(), facts()];
  const waiting = [dial.join(request(), one), dial.join(request(), other)];
  Object.assign(dial.facts, { resolvedMs: 1, connectedMs: 2, securedMs: 3, address: "127.0.0.1" });
  dial.connected(null);
  expect(await Promise.all(waiting)).toEqual([null, null]);
  for (const noted of [one, other]) {
    expect(noted).toMatchObject({ resolvedMs: 1, connectedMs: 2, securedMs: 3, address: "127.0.0.1" });
  }
});

test("a dial that fails fails every call that waits", async () => {
  const dial = new SharedDial();
  const noted = facts();
  const waiting = [dial.join(request(), noted), dial.join(request(), facts())];
  const error = new EgressError("CONNECT_FAILED", "test");
  dial.failed(error);
  expect(noted.error).toBe(error);
  for (const { status, ...rest } of await Promise.allSettled(waiting)) {
    expect([status, rest]).toEqual(["rejected", { reason: error }]);
  }
});

test("a call that is cancelled stops waiting, and the dial goes on for the others", async () => {
  const dial = new SharedDial();
  const leaving = request();
  const noted = facts();
  const [left, stays] = [dial.join(leaving, noted), dial.join(request(), facts())];
  const why = reason();
  leaving.cancelled.fire(why);
  await expect(left).rejects.toBe(why);
  expect(noted.error).toBe(why);
  expect(dial.cancelled.value).toBeUndefined();
  expect(dial.connected(socket)).toBe(true);
  expect(await stays).toBe(socket);
});

test("without any call that waits the dial is given up, and nobody takes its connection", async () => {
  const dial = new SharedDial();
  const leaving = request();
  const left = dial.join(leaving, facts());
  const why = reason();
  leaving.cancelled.fire(why);
  await expect(left).rejects.toBe(why);
  expect(dial.cancelled.value).toBe(why);
  expect(dial.connected(socket)).toBe(false);
});

test("a call that is cancelled afterwards is no concern of the dial any more", async () => {
  const dial = new SharedDial();
  const late = request();
  const waiting = dial.join(late, facts());
  dial.connected(null);
  await waiting;
  late.cancelled.fire(reason());
  expect(dial.cancelled.value).toBeUndefined();
});
