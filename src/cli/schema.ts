/** `outrider schema`: prints the JSON Schema or the reference page of the policy file. */
import { parseArgs } from "node:util";
import type { Command } from "./command.ts";

const HELP = `outrider schema: print the JSON Schema of the policy file

Usage: outrider schema [--markdown]

  --markdown   print the reference page instead

For completion in editors, keep the schema in a file and begin the policy with
  # yaml-language-server: $schema=policy.schema.json
`;

/** See HELP. */
export const command: Command = {
  summary: "print the JSON Schema, or with --markdown the reference page, of the policy file",
  help: HELP,
  async run(argv, terminal) {
    const { values } = parseArgs({
      args: [...argv],
      options: { markdown: { type: "boolean", default: false } },
    });
    if (values.markdown) {
      const { policyReference } = await import("../config/reference.ts");
      terminal.out(policyReference());
    } else {
      const { jsonSchemaText } = await import("../config/json-schema.ts");
      terminal.out(jsonSchemaText());
    }
    return 0;
  },
};
