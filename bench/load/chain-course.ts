/**
 * The chain of stages alone, in this process and without sockets: what its code costs a call, over an upstream that answers in the next
 * turn of the event loop. Steadier than the figures through sockets, in which the kernel's work and the other processes' weigh more.
 */

import { Body } from "../../src/body.ts";
import { systemClock } from "../../src/clock.ts";
import { compileOrThrow } from "../../src/config/compile.ts";
import { compose, EgressRequest, EgressResponse, type Send } from "../../src/exchange.ts";
import { Lifecycle } from "../../src/lifecycle.ts";
import { policyChain } from "../../src/policy/chain.ts";
import { endpointSets } from "../../src/policy/endpoints.ts";
import { busyConnections } from "./course.ts";

/** Of no meaning here: nothing is bound and nothing is dialled. */
const originPort = 4001;

const requestFields =
  "User-Agent: orders-function/1.4\r\nAccept: application/json\r\nAccept-Encoding: gzip, deflate\r\n" +
  "X-Request-Id: 7c1f6a52-0b1e-4f0d-9a53-52d1c0ffee01\r\n";
const responseFields = "Content-Type: application/json\r\nCache-Control: no-store\r\n";
const responseBody = "x".repeat(500);

/** One chain under load. */
export class ChainCourse {
  readonly #send: Send;

  /** @param policySource the policy file for an origin at a port; its first destination's chain is measured */
  constructor(policySource: (originPort: number) => string) {
    const { destinations } = compileOrThrow(policySource(originPort), "outrider.yaml").config;
    const destination = destinations[0]!;
    const lifecycle = new Lifecycle(systemClock);
    lifecycle.ready();
    lifecycle.workStarted("", Number.POSITIVE_INFINITY, "");
    const endpoints = endpointSets(destinations)(destination);
    const surroundings = { clock: systemClock, lifecycle, faultsAllowed: true, endpoints };
    this.#send = compose(policyChain(destination.policy, surroundings), answerNextTurn);
  }

  /** The CPU time in µs that a call takes, of `calls` in all, `busyConnections` at a time. Throws an Error for an answer that is wrong. */
  async cpuUsPerCall(calls: number): Promise<number> {
    // Timers of the stages keep no process alive; a call that waits for one must.
    const keepAlive = setInterval(() => {}, 1000);
    const before = process.cpuUsage();
    let left = calls;
    const caller = async () => {
      while (left-- > 0) await this.#callOnce();
    };
    await Promise.all(Array.from({ length: busyConnections }, caller));
    const { user, system } = process.cpuUsage(before);
    clearInterval(keepAlive);
    return (user + system) / calls;
  }

  async #callOnce(): Promise<void> {
    const request = new EgressRequest({
      method: "GET",
      scheme: "http",
      host: "127.0.0.1",
      port: originPort,
      path: "/orders/1234?expand=lines",
      fields: requestFields,
      startedMs: systemClock.now(),
    });
    const { status } = await this.#send(request);
    request.settled.fire({ error: null });
    if (status !== 200) throw new Error(`the chain answered ${status} in place of the upstream's 200`);
  }
}

const answerNextTurn: Send = () =>
  new Promise((resolve) => {
    setImmediate(() => resolve(new EgressResponse(200, "OK", responseFields, Body.of(responseBody))));
  });
