// Builds what is shipped: the command line (dist/outrider.js) and the Lambda layer's tree (dist/layer/opt). Both are split into
// chunks, so that what nobody waits for is neither read nor parsed at a cold start; dist/meta-*.json say what went where, and
// test/shape holds the tiers against them.
import { chmod, cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { build } from "esbuild";

const quiet = process.argv.includes("--quiet");
const { version } = JSON.parse(await readFile(new URL("package.json", import.meta.url), "utf8"));

/** @type {import("esbuild").BuildOptions} */
const common = {
  bundle: true,
  platform: "node",
  target: "node24",
  // Code splitting needs ESM; with `main` first, esbuild would take the CommonJS builds, which cannot be tree-shaken.
  format: "esm",
  splitting: true,
  mainFields: ["module", "main"],
  conditions: ["module", "import", "node"],
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "none",
  metafile: true,
  write: false,
  define: { OUTRIDER_VERSION: JSON.stringify(version) },
  logLevel: "warning",
};

/**
 * CommonJS packages ask for Node's modules by `require`, which an ES module lacks. Only the chunk that holds esbuild's stand-in
 * for it is given one: `node:module` is not free, and the cold tier has no use for it.
 */
const REQUIRE =
  'import{createRequire as __createRequire}from"node:module";const require=__createRequire(import.meta.url);\n';

/** The licences of the packages that `inputs` bring into a bundle, as those licences ask for. */
async function licenses(inputs) {
  const folders = inputs.map((file) => /^node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0]).filter(Boolean);
  const texts = [...new Set(folders)].sort().map(async (folder) => {
    const { name, version, license } = JSON.parse(await readFile(`${folder}/package.json`, "utf8"));
    const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
    if (file === undefined) throw new Error(`${name} ships no licence text; it cannot be bundled`);
    return `${name} ${version} (${license})\n\n${await readFile(`${folder}/${file}`, "utf8")}`;
  });
  return (await Promise.all(texts)).join(`\n${"-".repeat(80)}\n`);
}

async function emit(name, ...builds) {
  const results = await Promise.all(builds.map((options) => build({ ...common, ...options })));
  const outputFiles = results.flatMap((result) => result.outputFiles);
  for (const file of outputFiles) {
    let text = file.text;
    if (text.includes("Dynamic require of")) {
      const shebang = /^#!.*\n/.exec(text)?.[0] ?? "";
      text = shebang + REQUIRE + text.slice(shebang.length);
    }
    await mkdir(new URL(".", `file://${file.path}`), { recursive: true });
    await writeFile(file.path, text);
  }
  const metafile = {
    inputs: Object.assign({}, ...results.map((result) => result.metafile.inputs)),
    outputs: Object.assign({}, ...results.map((result) => result.metafile.outputs)),
  };
  await writeFile(`dist/meta-${name}.json`, JSON.stringify(metafile));
  await writeFile(`${builds[0].outdir}/LICENSES.txt`, await licenses(Object.keys(metafile.inputs)));
  if (!quiet) {
    const bytes = outputFiles.reduce((sum, file) => sum + file.contents.length, 0);
    console.log(`${name}: ${outputFiles.length} files, ${Math.round(bytes / 1024)} KiB`);
  }
}

await rm("dist", { recursive: true, force: true });
await mkdir("dist", { recursive: true });
await emit("cli", {
  entryPoints: { outrider: "src/cli/main.ts" },
  outdir: "dist",
  chunkNames: "chunks/[name]-[hash]",
  banner: { js: "#!/usr/bin/env node" },
});
await chmod("dist/outrider.js", 0o755);
await cp("adapters/local/bootstrap", "dist/bootstrap", { recursive: true });

await cp("layers/opt", "dist/layer/opt", { recursive: true });
await chmod("dist/layer/opt/extensions/outrider", 0o755);
await chmod("dist/layer/opt/outrider-wrapper", 0o755);

/**
 * The layer's cold tier is one CommonJS file: Node's loader of ES modules costs a cold start 4 ms (measured, 25 KiB in four files
 * against one). What it loads later is named by the chunk's entry point. The builds share source files, not objects: nothing
 * that crosses between them is told apart by its class.
 */
const laterTiers = {
  name: "later-tiers",
  setup({ onResolve }) {
    onResolve({ filter: /\.ts$/ }, ({ kind, path }) => {
      if (kind !== "dynamic-import") return undefined;
      const name = path.split("/").pop().replace(/\.ts$/, "");
      return { path: `./${name}.${name === "interception" ? "cjs" : "mjs"}`, external: true };
    });
  },
};
const layer = { outdir: "dist/layer/opt/outrider", minifyIdentifiers: true };
await emit(
  "lambda",
  {
    ...layer,
    entryPoints: { extension: "adapters/lambda/main.ts" },
    format: "cjs",
    splitting: false,
    outExtension: { ".js": ".cjs" },
    plugins: [laterTiers],
  },
  // Before `register` as well, but only where the policy opens TLS: CommonJS for the same reason.
  {
    ...layer,
    entryPoints: { interception: "src/identity/interception.ts" },
    format: "cjs",
    splitting: false,
    outExtension: { ".js": ".cjs" },
  },
  {
    ...layer,
    entryPoints: {
      proxy: "src/proxy.ts",
      compile: "src/config/compile.ts",
      fleet: "src/fleet/fleet.ts",
    },
    outExtension: { ".js": ".mjs" },
    chunkNames: "[name]-[hash]",
  },
);
