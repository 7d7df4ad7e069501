import { test } from "vitest";
import { certificate } from "../kit/certificates.ts";
import { matrixOrigin } from "./origin.ts";
import { PATHS } from "./paths.ts";
test("hang", async () => {
  const path = PATHS.find((p) => p.name.includes("HTTP/1.1 inside"))!;
  await using origin = await matrixOrigin(certificate("server"));
  await using way = await path.open(origin);
  const lane = async () => {
  for (let i = 0; i < 150; i++) {
    for (const response of ["chunked","length", "none", "close"] as const) for (const size of [0, 1, 16383]) {
      const cell = { method: "GET", request: "none", response, size, keepAlive: "kept", earlyClose: "none" } as const;
      const c = await way.connect();
      for (let k = 0; k < 3; k++) {
        if (!c.open) break;
        const turn = origin.turn(k === 1 ? cell : { ...cell, response: "length", size: 100 });
        const t = setTimeout(() => console.log("HANG", i, response, size, k, JSON.stringify(c)), 5000);
        await c.call(turn); clearTimeout(t);
      }
      c.close();
    }
  }};
  await Promise.all([lane(), lane(), lane(), lane()]);
}, 100000);
