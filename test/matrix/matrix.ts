/** Plays cells over a way, and compares what was observed with what a direct call shows. */
import { certificate } from "../kit/certificates.ts";
import { type Cell, cellsOf, type EarlyClose, nameOf } from "./cells.ts";
import type { ClientSaw } from "./client.ts";
import { type MatrixOrigin, matrixOrigin, type OriginSaw } from "./origin.ts";
import { DIRECT, type OpenPath, type Path } from "./paths.ts";

/** What both sides have seen of a cell. */
export interface Observation {
  readonly client: ClientSaw;
  readonly origin: OriginSaw;
  /** What the client saw of the call after it, on the same connection where that is possible; `null` where nothing follows. */
  readonly after: ClientSaw | null;
}

/** Cells that are played side by side. */
const LANES = 4;
/** A cell that takes longer hangs. A guard, never a measurement. */
const CELL_MS_MAX = 20_000;

/** Comes before and behind the call of a cell whose connection is kept. */
const PROBE: Cell = {
  method: "GET",
  request: "none",
  response: "length",
  size: 100,
  keepAlive: "kept",
  earlyClose: "none",
};

/** Observes the cells of one group over `path`, in the order of `cellsOf`; those that are left out have no observation. */
export async function observe(path: Path, group: EarlyClose): Promise<readonly Observation[]> {
  await using origin = await matrixOrigin(path.tls ? certificate("server") : null);
  await using way = await path.open(origin);
  const cells = cellsOf(group);
  const observations: Observation[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < cells.length) {
      const at = next++;
      if (path.leavesOut?.(cells[at]!)) continue;
      observations[at] = await guarded(cells[at]!, play(way, origin, cells[at]!));
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return normalised(observations, origin.port);
}

/** What direct calls have shown already: they show the same for every way. */
const directly = new Map<string, Promise<readonly Observation[]>>();

/** Observes one group over the direct way to an origin with or without TLS, once. */
export function observeDirect(tls: boolean, group: EarlyClose): Promise<readonly Observation[]> {
  const key = `${tls} ${group}`;
  let observed = directly.get(key);
  if (observed === undefined) {
    observed = observe(DIRECT.find((path) => path.tls === tls)!, group);
    directly.set(key, observed);
  }
  return observed;
}

/** A sentence for each cell in which `path` shows something else than a direct call; `direct` is what that showed. */
export async function differences(path: Path, group: EarlyClose): Promise<readonly string[]> {
  const expected = await observeDirect(path.tls, group);
  const observed = await observe(path, group);
  return cellsOf(group).flatMap((cell, at) => {
    if (path.leavesOut?.(cell)) return [];
    const [want, got] = [JSON.stringify(expected[at]), JSON.stringify(observed[at])];
    return want === got ? [] : [`${nameOf(cell)}:\n  direct ${want}\n  here   ${got}`];
  });
}

async function play(way: OpenPath, origin: MatrixOrigin, cell: Cell): Promise<Observation> {
  let client = await way.connect();
  try {
    const kept = cell.keepAlive === "kept";
    if (kept) await client.call(origin.turn(PROBE));
    const turn = origin.turn(cell);
    const [clientSaw, originSaw] = await Promise.all([client.call(turn), turn.originSaw]);
    if (!kept) return { client: clientSaw, origin: originSaw, after: null };
    if (!client.open) {
      client.close();
      client = await way.connect();
    }
    return { client: clientSaw, origin: originSaw, after: await client.call(origin.turn(PROBE)) };
  } finally {
    client.close();
  }
}

async function guarded<T>(cell: Cell, played: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`hangs: ${nameOf(cell)}`)), CELL_MS_MAX);
  });
  try {
    return await Promise.race([played, late]);
  } catch (error) {
    throw new Error(`${nameOf(cell)}: ${(error as Error).message}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

/** Two origins have different ports, and that is all that may differ in their names. */
const normalised = (observations: readonly Observation[], port: number): Observation[] =>
  observations.map((one) => ({
    ...one,
    origin: { ...one.origin, host: one.origin.host?.replace(`:${port}`, "") },
  }));
