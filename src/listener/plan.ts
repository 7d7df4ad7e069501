/** Which sockets a configuration asks for, and binding all of them or none. Of the cold tier. */
import type { ListenerRole } from "../capture/target.ts";
import type { Config, Destination } from "../config/types.ts";
import { type Binding, bind } from "./bind.ts";

/** A listening socket and what it stands for. */
export interface BoundRole {
  readonly binding: Binding;
  readonly role: ListenerRole;
}

/** A port could not be had. One sentence that names the key, the port and the remedy. */
export class BindError extends Error {}

/** The proxy's port, the one for redirected connections, the local ports of destinations, as `[key of the policy file, port, role]`. Pure. */
export function listenPlan(
  config: Config,
): { readonly key: string; readonly port: number; readonly role: ListenerRole }[] {
  const { port, transparentPort } = config.listen;
  const plan: { key: string; port: number; role: ListenerRole }[] = [
    { key: "listen.port", port, role: { kind: "proxy" } },
  ];
  if (transparentPort !== 0) {
    plan.push({ key: "listen.transparent_port", port: transparentPort, role: { kind: "transparent" } });
  }
  for (const destination of config.destinations) {
    const role = localRole(destination);
    if (role === null) continue;
    plan.push({ key: `destinations.${destination.name}.local_port`, port: destination.localPort, role });
  }
  return plan;
}

/** What the local port of a destination is for; `null` when it has none. */
function localRole({ name, hosts, protocol, localPort, tls, upstream }: Destination): ListenerRole | null {
  if (localPort === 0 || upstream === null) return null;
  const host = hosts.find((pattern) => !pattern.includes("*")) ?? upstream.host;
  const target = { destination: name, host, port: upstream.port };
  if (protocol === "tcp") return { kind: "tcp", ...target };
  return { kind: "local", scheme: tls?.originate ? "https" : "http", ...target };
}

/**
 * Binds every socket of `config`; when one fails, those already bound are closed again.
 * @throws BindError
 */
export async function bindAll(config: Config): Promise<BoundRole[]> {
  const bound: BoundRole[] = [];
  try {
    for (const { key, port, role } of listenPlan(config)) {
      const binding = await bind(config.listen.host, port).catch((error: NodeJS.ErrnoException) => {
        throw new BindError(`${key}: ${config.listen.host}:${port}: ${why(error, key)}`);
      });
      bound.push({ binding, role });
    }
    return bound;
  } catch (error) {
    await Promise.all(bound.map(({ binding }) => binding.close()));
    throw error;
  }
}

function why(error: NodeJS.ErrnoException, key: string): string {
  switch (error.code) {
    case "EADDRINUSE":
      // A local port is written into the application, so a free one would be of no use to it.
      return `another program listens there; stop it or choose another port${key === "listen.port" ? " (0 takes a free one)" : ""}`;
    case "EACCES":
      return "not permitted; choose a port above 1023";
    case "EADDRNOTAVAIL":
      return "this machine has no such address; correct listen.unsafe_bind";
    default:
      return error.message;
  }
}
