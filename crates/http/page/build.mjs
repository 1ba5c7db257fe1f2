// Makes the page: from src/ and node_modules/ to ../src/page/, which is part of the crate. `npm ci && npm run build`.
//
// Names are fixed: the server tells browsers by a hash whether what they have is current.
import { build } from "esbuild";
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";

const to = process.argv[2] ?? "../src/page";
const outputs = ["app.js", "app.css", "play.js", "licences.txt", "index.html"];
// What is part of the page, and whose licences go with it.
const parts = ["preact", "uplot", "mpegts.js", "es6-promise", "events"];

await build({
  entryPoints: { app: "src/app.tsx", play: "src/play.ts" },
  outdir: to,
  bundle: true,
  format: "esm",
  splitting: false,
  external: ["./play.js"],
  minify: true,
  target: ["es2022"],
  legalComments: "eof",
  jsx: "automatic",
  jsxImportSource: "preact",
});
const licences = [];
for (const name of parts) {
  const { version, license } = JSON.parse(await readFile(`node_modules/${name}/package.json`, "utf8"));
  const text = await readFile(`node_modules/${name}/LICENSE`, "utf8");
  licences.push(`${name} ${version} (${license})\n\n${text.trim()}\n`);
}
await writeFile(`${to}/licences.txt`, licences.join(`\n${"-".repeat(80)}\n\n`));
await copyFile("src/index.html", `${to}/index.html`);
let sum = 0;
for (const name of outputs) {
  const raw = await readFile(`${to}/${name}`);
  const packed = gzipSync(raw, { level: 9 });
  // No time and no system in it: the same input gives the same bytes.
  packed.fill(0, 4, 8);
  packed[9] = 255;
  if (name !== "index.html") await writeFile(`${to}/${name}.gz`, packed);
  sum += packed.length;
  console.log(`${name}: ${raw.length} bytes, ${packed.length} compressed`);
}
console.log(`all: ${sum} bytes compressed`);
if (sum > 300_000) throw new Error("the page is to stay below 300,000 bytes");
