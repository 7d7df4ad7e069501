/**
 * A folder for the configurations and bundles of one run. It is removed when the run ends, also by an interruption.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Dispose of it with `using`. */
export class TemporaryFolder {
  /** Absolute, readable by its owner only. */
  readonly path: string;
  readonly #remove: () => void;

  private constructor(path: string) {
    this.path = path;
    this.#remove = () => rmSync(path, { recursive: true, force: true });
    process.once("exit", this.#remove);
  }

  /** Makes a folder in the system's folder for temporary files. */
  static make(): TemporaryFolder {
    return new TemporaryFolder(mkdtempSync(join(tmpdir(), "outrider-bench-")));
  }

  [Symbol.dispose](): void {
    process.off("exit", this.#remove);
    this.#remove();
  }
}
