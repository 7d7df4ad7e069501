/**
 * Ends a test run with one plain line, `N passed, N failed, N skipped`, after the names of what was skipped and, when it is said, why.
 * Under CI a skipped test fails the run: there every component that a test wants has to be installed.
 */
import type { Reporter, SerializedError, TestModule } from "vitest/node";

/** See the file's header. Named in vitest.config.ts. */
export class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly SerializedError[]): void {
    let passed = 0;
    let failed = errors.length;
    const skipped: string[] = [];
    for (const module of modules) {
      failed += module.errors().length;
      for (const test of module.children.allTests()) {
        const result = test.result();
        if (result.state === "passed") passed += 1;
        else if (result.state === "failed") failed += 1;
        else {
          const note = result.state === "skipped" && result.note ? ` (${result.note})` : "";
          skipped.push(`${module.relativeModuleId}: ${test.fullName}${note}`);
        }
      }
    }
    for (const name of skipped) process.stdout.write(`skipped: ${name}\n`);
    if (skipped.length > 0 && process.env.CI) {
      process.stdout.write("skipped tests are failures under CI: install what they want\n");
      process.exitCode = 1;
    }
    process.stdout.write(`${passed} passed, ${failed} failed, ${skipped.length} skipped\n`);
  }
}
