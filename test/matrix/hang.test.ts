import { test } from "vitest";
import { certificate } from "../kit/certificates.ts";
import { cellsOf, nameOf } from "./cells.ts";
import { matrixOrigin } from "./origin.ts";
import { PATHS } from "./paths-dbg.ts";
import { writeSync } from "node:fs";
test("hang", async () => {
  const path = PATHS.find((p) => p.name.includes("HTTP/1.1 inside"))!;
  await using origin = await matrixOrigin(certificate("server"));
  await using way = await path.open(origin);
  const cells = cellsOf("none").filter((c) => c.method === "GET");
  let next = 0; const log = (s: string) => writeSync(2, s + "\n");
  const lane = async (l: number) => {
    while (next < cells.length * 3) {
      const n = next++; const cell = cells[n % cells.length]!;
      let stage = "connect";
      const guard = setTimeout(() => log(`HANG lane ${l} cell ${n} ${nameOf(cell)} at ${stage}; listener ${JSON.stringify(w.proxy.listener.open())} upstream ${JSON.stringify(w.proxy.upstream.stats())}`), 8000);
      const w = (globalThis as any).theProxy;
      const c: any = await way.connect();
      const calls = cell.keepAlive === "kept" ? 3 : 1;
      for (let k = 0; k < calls; k++) {
        if (!c.open) break;
        const turn = origin.turn(k === 1 || calls === 1 ? cell : { ...cell, request: "none", response: "length", size: 100 });
        stage = `call ${k}`;
        turn.originSawHead.given.then(() => (stage += " originSawHead"));
        turn.originSaw.then(() => (stage += " originSaw"));
        turn.clientSawHead.given.then(() => (stage += " clientSawHead"));
        await c.call(turn);
      }
      c.close(); clearTimeout(guard);
    }
  };
  await Promise.all([0, 1, 2, 3].map(lane));
}, 60000);
