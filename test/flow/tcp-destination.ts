/** A destination of `protocol: tcp` for tests: its upstream, its port, and what became of its connections. */
import { expect } from "vitest";
import type { DestinationFile, PolicyFile } from "../../src/config/schema.ts";
import { eventually } from "../kit/eventually.ts";
import { type Origin, type Step, scriptedOrigin, silence, step } from "../kit/origin.ts";
import type { ProxyOptions, TestProxy } from "../kit/proxy.ts";
import { type Client, rawClient } from "../kit/raw-client.ts";

/** Sends back what it gets, and ends when the other side does. */
export const echo = (): Step =>
  step(async ({ peer }) => {
    peer.socket.pipe(peer.socket);
    await peer.closed();
    return false;
  }, "connect");

/** Says `greeting` first, then echoes. */
export const greets = (greeting: string): Step =>
  step(async ({ peer }) => {
    await peer.write(greeting);
    peer.socket.pipe(peer.socket);
    return false;
  }, "connect");

/** Accepts and says nothing. */
export const idle = (): Step => ({ ...silence(), when: "connect" });

/** A destination `db` whose port leads to `origin`. */
export const to = (
  origin: Pick<Origin, "port">,
  more: Partial<DestinationFile> = {},
  limits: PolicyFile["limits"] = {},
): Required<Pick<ProxyOptions, "policy">> => ({
  policy: {
    limits,
    destinations: [
      {
        name: "db",
        hosts: ["db.test"],
        protocol: "tcp",
        local_port: 9999,
        upstream: { host: "127.0.0.1", port: origin.port },
        ...more,
      },
    ],
  },
});

/** A connection as the application makes it. */
export const application = (proxy: TestProxy): Promise<Client> => rawClient(proxy.localPorts.get("db")!);

/** Connects and waits for the reset, which may be here before `connect` has been told. */
export async function isReset(proxy: TestProxy): Promise<void> {
  const client = await application(proxy).catch((error: NodeJS.ErrnoException) => error);
  if (client instanceof Error) expect(client.code).toBe("ECONNRESET");
  else expect(await client.gone()).toBe("reset");
}

/** Codes of the calls of `db` that failed, as the metrics count them. */
export async function failures(proxy: TestProxy): Promise<string[]> {
  const { text } = await proxy.proxy.telemetry.prometheus();
  return [...text.matchAll(/^outrider_call_errors_total\{(.*)\} [1-9]/gm)].map(
    ([, labels]) => /code="([A-Z_]+)"/.exec(labels!)?.[1] ?? labels!,
  );
}

/** Waits until a call has failed with `code`. */
export async function failed(proxy: TestProxy, code: string): Promise<void> {
  let codes: string[] = [];
  await eventually(`a record of ${code}`, () => {
    void failures(proxy).then((now) => (codes = now));
    return codes.includes(code);
  });
}

/** A port of this machine where nobody listens. */
export async function deadPort(): Promise<{ port: number }> {
  const origin = await scriptedOrigin([echo()]);
  const { port } = origin;
  await origin[Symbol.asyncDispose]();
  return { port };
}
