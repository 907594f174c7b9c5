/** The page's side of tests/golden/*.json, read from standard input: prints what differs. */

import { stateOf } from "./document";
import { isRequired, isShown, type Values } from "./form";
import { normalize, offers, renameReferences, split } from "./references";
import { exported, secretNames } from "./secrets";
import type { Block, Document, Field, Json, Spec } from "./types";

interface Golden {
  names: [string, string][];
  split: [string, unknown][];
  renamed: { text: string; from: string; to: string; expected: string }[];
  offers?: { about: string; document: Document; block: string; variables?: string[]; offers: string[] }[];
  specs?: Record<string, Spec>; // of the blocks in `offers`, as the server sends them
  secrets?: { patterns: [string, string]; names: [string, boolean][]; leaving?: [Json, Json][] };
  fields: { about: string; operationField?: string; field: Partial<Field>; cases: { values: Values; shown: boolean; required: boolean }[] }[];
}

const FIELD = { shownFor: null, requiredFor: [], required: false, conditions: {} };

/** Return a line for each case that comes out otherwise than the file says. */
export function differing(golden: Golden): string[] {
  const found: string[] = [];
  const same = (what: string, given: unknown, expected: unknown) => {
    if (JSON.stringify(given) !== JSON.stringify(expected)) found.push(`${what}: ${JSON.stringify(given)}, not ${JSON.stringify(expected)}`);
  };
  for (const [name, expected] of golden.names) same(name, normalize(name), expected);
  for (const [text, expected] of golden.split) same(text, split(text), expected);
  for (const { text, from, to, expected } of golden.renamed) {
    const block = { subBlocks: { field: { id: "field", type: "short-input", value: text } } } as unknown as Block;
    same(`${from} to ${to} in ${text}`, renameReferences(block, from, to).subBlocks.field?.value, expected);
  }
  for (const { about, operationField, field, cases } of golden.fields) {
    const spec = { operationField: operationField ?? "operation" } as Spec;
    const whole = { ...FIELD, ...field } as Field;
    for (const { values, shown, required } of cases) same(`${about} ${JSON.stringify(values)}`, [isShown(spec, whole, values), isRequired(spec, whole, values)], [shown, required]);
  }
  for (const { about, document, block, variables, offers: expected } of golden.offers ?? [])
    same(about, offers(stateOf(document), block, golden.specs ?? {}, variables ?? []).map((offer) => `${offer.text} ${offer.detail}`), expected);
  if (golden.secrets) {
    const { patterns, names, leaving } = golden.secrets;
    const isSecret = secretNames(patterns);
    for (const [name, expected] of names) same(name, isSecret(name), expected);
    for (const [value, expected] of leaving ?? []) {
      const block = { type: "api", subBlocks: { field: { id: "field", type: "code", value } } } as unknown as Block;
      const left = exported({ blocks: { block }, edges: [] }, {}, isSecret) as { blocks: Record<string, Block> };
      same(JSON.stringify(value), left.blocks.block?.subBlocks.field?.value, expected);
    }
  }
  return found;
}
