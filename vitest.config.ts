import { defineConfig } from "vitest/config";
import { ClosingLine } from "./test/report/closing-line.ts";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Flow tests open real sockets and start processes: a stuck one must end the run, not time a race.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: [process.env.CI ? "dot" : "default", new ClosingLine()],
    pool: "forks",
    maxWorkers: 2,
  },
});
