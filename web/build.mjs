// Builds src/*.ts into src/roentmod/web/static; with --check, says whether a build changes it.
import { build } from "esbuild";
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "..", "src", "roentmod", "web", "static");
const licence = await readFile(join(here, "node_modules", "lit", "LICENSE"), "utf8");
const result = await build({
  absWorkingDir: here,
  entryPoints: ["src/viewer.ts", "src/readers.ts", "src/studio.ts"],
  outdir: out,
  bundle: true,
  // What the viewer and the studio have in common is one file of both.
  splitting: true,
  chunkNames: "shared",
  format: "esm",
  target: "es2022",
  minify: true,
  charset: "utf8",
  legalComments: "eof",
  write: false,
});
let stale = false;
for (const { path, text } of result.outputFiles) {
  const whole = text.includes("BSD-3-Clause") ? `${text}/*! Of Lit:\n\n${licence}*/\n` : text;
  const contents = Buffer.from(whole);
  const there = await readFile(path).catch(() => Buffer.alloc(0));
  if (there.equals(contents)) continue;
  stale = true;
  if (process.argv.includes("--check")) console.error(`${path} is not what its sources build`);
  else await writeFile(path, contents);
}
if (stale && process.argv.includes("--check")) process.exit(1);
