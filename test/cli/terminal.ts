/** A terminal for tests of commands: keeps what is written. */
import { main } from "../../src/cli/main.ts";

/** What a command line gave. */
export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** What a test may set of the process. */
export interface Surroundings {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly colour?: boolean;
}

/** Runs `outrider ...argv` in this process. */
export async function outrider(
  argv: readonly string[],
  { cwd = "/", env = {}, colour = false }: Surroundings = {},
): Promise<Ran> {
  let out = "";
  let err = "";
  const code = await main(argv, {
    env,
    cwd,
    colour,
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    interrupted: new Promise<string>(() => undefined),
  });
  return { code, out, err };
}
