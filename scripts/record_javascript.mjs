// Run the expressions of tests/golden/javascript.txt in Node and write what each gives to
// tests/golden/javascript.json, which the tests compare our engine with.
//
//     node scripts/record_javascript.mjs
//
// Each runs in a context of its own that has the language alone, as the sandbox of Sim's Function
// blocks has it (isolated-vm): V8 with Intl, and nothing of Node. The zone is UTC, the language
// en-US.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import vm from "node:vm";

process.env.TZ = "UTC";
process.env.LC_ALL = "en_US.UTF-8";

// The body of a function that gives what an expression gives, as text.
const PROBE = `
const show = (v) =>
  v === undefined ? "undefined"
  : typeof v === "number" ? (Object.is(v, -0) ? "-0" : String(v))
  : typeof v === "bigint" ? v + "n"
  : typeof v === "function" || typeof v === "symbol" ? "a " + typeof v
  : JSON.stringify(v);
try { return show(await (EXPRESSION\n)) } catch (e) { return "throws " + e }`;

const folder = join(dirname(fileURLToPath(import.meta.url)), "..", "tests", "golden");
const cases = [];
let group = "";
for (const line of readFileSync(join(folder, "javascript.txt"), "utf8").split("\n")) {
  if (line.startsWith("# ")) group = line.slice(2);
  else if (line) {
    const code = PROBE.replace("EXPRESSION", () => line);
    const gives = await vm.runInNewContext(`(async () => {${code}\n})()`);
    cases.push({ group, code: line, gives });
  }
}
const { node, v8, icu } = process.versions;
const head = { node, v8, icu, probe: PROBE };
writeFileSync(join(folder, "javascript.json"), JSON.stringify({ ...head, cases }, null, 1) + "\n");
console.log(`${cases.length} expressions, Node ${node}`);
