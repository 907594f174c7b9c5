// Bundled by the test: says on standard output where the page differs from the golden cases.
import { readFileSync } from "node:fs";
import { differing } from "../../web/src/golden.ts";

process.stdout.write(JSON.stringify(differing(JSON.parse(readFileSync(0, "utf8")))));
