/** References `<block.output>` and `{{NAME}}`: spelling, what is on offer where, renaming. */

import { operationOf, rowsOf } from "./form";
import type { Block, Json, Spec, State } from "./types";

export const normalise = (name: string): string => name.replace(/\s+/g, "").replaceAll(".", "").toLowerCase();

export interface Offer {
  text: string;
  detail: string;
}

const TRIGGERS = ["start_trigger", "api_trigger", "input_trigger", "manual_trigger", "chat_trigger", "starter"];

/** Blocks that may have run before this one: over edges backwards, and before the containers around. */
export function upstream(state: State, id: string): Block[] {
  const found = new Set<string>();
  const waiting = [id];
  while (waiting.length) {
    const at = waiting.pop()!;
    const sources = state.edges.filter((edge) => edge.target === at).map((edge) => edge.source);
    const parent = state.blocks[at]?.data?.parentId;
    if (typeof parent === "string") sources.push(parent);
    for (const source of sources) {
      if (source !== id && !found.has(source) && state.blocks[source]) {
        found.add(source);
        waiting.push(source);
      }
    }
  }
  return Object.values(state.blocks).filter((block) => found.has(block.id));
}

function outputsOf(block: Block, spec: Spec | undefined): [string, string][] {
  if (TRIGGERS.includes(block.type)) {
    const rows = rowsOf(block.subBlocks?.inputFormat?.value);
    return rows.filter((row) => row.name).map((row) => [String(row.name), String(row.type ?? "any")]);
  }
  if (block.type === "human_in_the_loop")
    return rowsOf(block.subBlocks?.inputFormat?.value).map((row) => [String(row.name), String(row.type ?? "any")]);
  const outputs = spec?.outputs[operationOf(spec, block)] ?? spec?.outputs[""] ?? {};
  return Object.entries(outputs).map(([name, about]) => [name, [about.type].flat().filter((kind) => kind !== "null").join(" or ")]);
}

export function offers(state: State, id: string, specs: Record<string, Spec>, variables: string[]): Offer[] {
  const found: Offer[] = [];
  const before = upstream(state, id);
  const around: string[] = [];
  for (let at = state.blocks[id]?.data?.parentId; typeof at === "string"; at = state.blocks[at]?.data?.parentId) around.push(at);
  for (const block of before) {
    if (around.includes(block.id)) {
      const head = around[0] === block.id ? block.type : normalise(block.name);
      found.push({ text: `<${head}.index>`, detail: `number · ${block.name}` });
      found.push({ text: `<${head}.currentItem>`, detail: `any · ${block.name}` });
      continue;
    }
    for (const [name, kind] of outputsOf(block, specs[block.type]))
      found.push({ text: `<${normalise(block.name)}.${name}>`, detail: `${kind} · ${block.name}` });
  }
  const stored = state.variables;
  for (const item of stored && typeof stored === "object" ? Object.values(stored) : []) {
    const variable = item as { name?: Json; type?: Json } | null;
    if (variable?.name) found.push({ text: `<variable.${normalise(String(variable.name))}>`, detail: String(variable.type ?? "any") });
  }
  for (const name of variables) found.push({ text: `{{${name}}}`, detail: "variable" });
  return found;
}

/** What is being typed before the caret: the start of a reference, or nothing. */
export function beingTyped(text: string, caret: number): { from: number; typed: string } | null {
  const before = text.slice(0, caret);
  const found = /(<[\w.]*|\{\{\w*)$/.exec(before);
  return found ? { from: found.index, typed: found[0] } : null;
}

function replaced(value: Json, pattern: RegExp, to: string): Json {
  if (typeof value === "string") return value.replace(pattern, (_all, after: string) => `<${to}${after}`);
  if (Array.isArray(value)) {
    const items = value.map((item) => replaced(item, pattern, to));
    return items.every((item, index) => item === value[index]) ? value : items;
  }
  if (value && typeof value === "object") {
    const pairs = Object.entries(value).map(([key, item]) => [key, replaced(item, pattern, to)] as const);
    return pairs.every(([key, item]) => item === value[key]) ? value : Object.fromEntries(pairs);
  }
  return value;
}

/** Return the block with references to a block of the old name spelled with the new one. */
export function renameReferences(block: Block, from: string, to: string): Block {
  const letters = [...normalise(from)].map((letter) => letter.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const pattern = new RegExp(`<\\s*${letters.join("\\s*")}([.>\\[])`, "gi");
  const subBlocks = replaced(block.subBlocks as unknown as Json, pattern, normalise(to)) as unknown as Block["subBlocks"];
  const data = replaced((block.data ?? null) as Json, pattern, normalise(to)) as Block["data"];
  if (subBlocks === block.subBlocks && (data ?? null) === (block.data ?? null)) return block;
  return block.data === undefined ? { ...block, subBlocks } : { ...block, subBlocks, data };
}
