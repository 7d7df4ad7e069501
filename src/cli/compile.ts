/** `outrider compile`: turns a policy into the plain JSON that the proxy starts with fastest. */
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { compiledText, openPolicy } from "../config/compile.ts";
import { type Command, Failure, UsageError } from "./command.ts";

const HELP = `outrider compile: turn a policy into the plain JSON that the proxy starts with fastest

Usage: outrider compile FILE [-o OUT]

  -o, --output OUT   where to write (default: standard output)

The result holds every default; name it with OUTRIDER_CONFIG or --config in place of FILE. Compile again after each
upgrade of Outrider. The same policy gives the same bytes.
`;

/** See HELP. */
export const command: Command = {
  summary: "turn a policy file into the plain JSON that the proxy starts with fastest",
  help: HELP,
  async run(argv, terminal) {
    const options = { output: { type: "string", short: "o" } } as const;
    const { positionals, values } = parseArgs({ args: [...argv], options, allowPositionals: true });
    const [name, ...more] = positionals;
    if (name === undefined || more.length > 0) throw new UsageError("compile takes one file");
    const path = resolve(terminal.cwd, name);
    const { config, file, warnings } = openPolicy(path, name);
    if (file === null) throw new Failure(`${name} is compiled already; name the policy it was made from`);
    for (const warning of warnings) terminal.err(`${warning}\n`);
    const text = compiledText(config);
    if (values.output === undefined) {
      terminal.out(text);
      return 0;
    }
    const output = resolve(terminal.cwd, values.output);
    if (output === path) throw new UsageError(`${values.output} is the policy itself; name another file`);
    write(output, text, values.output);
    return 0;
  },
};

/** Whole or not at all: a proxy that starts meanwhile reads the old file or the new one. */
function write(path: string, text: string, name: string): void {
  const unfinished = `${path}.${process.pid}.tmp`;
  try {
    writeFileSync(unfinished, text, { flag: "wx" });
    renameSync(unfinished, path);
  } catch (error) {
    rmSync(unfinished, { force: true });
    const { code, message } = error as NodeJS.ErrnoException;
    throw new Failure(
      `${name} cannot be written (${code ?? message}); name a file in a folder that exists and is writable`,
    );
  }
}
