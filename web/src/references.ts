/** References `<block.output>` and `{{NAME}}`: spelling, what is on offer where, renaming. */

import { operationOf, rowsOf } from "./form";
import type { Block, Json, Spec, State } from "./types";

export const normalize = (name: string): string => name.replace(/\s+/g, "").replaceAll(".", "").toLowerCase();

export interface Reference {
  ref: string; // as written
  head: string;
  path: (string | number)[]; // a number is an index
}

export type Segment = string | Reference | { env: string };

const OPERATOR = /(^|\s)[<>=!+*/]+\s|^\s*[<>=!]+\s*$/;
const NOT_A_NAME = /[+*/=<>!]/;
const isNumber = (text: string) => /^[0-9]+$/.test(text);

/** Cut a text into literal text, references and variables, as the engine does. */
export function split(text: string): Segment[] {
  const segments: Segment[] = [];
  let end = 0;
  for (const match of text.matchAll(/<([^<>]+)>/g)) {
    if (!looksLikeReference(match[1]!)) continue;
    segments.push(...splitEnv(text.slice(end, match.index)), parsed(match[0]));
    end = match.index + match[0].length;
  }
  return [...segments, ...splitEnv(text.slice(end))];
}

function splitEnv(text: string): Segment[] {
  const parts = text.split(/\{\{([^}]+)\}\}/); // text and names by turns
  return parts.map((part, at): Segment => (at % 2 ? { env: part } : part)).filter((part) => part !== "");
}

function looksLikeReference(inner: string): boolean {
  if (inner.startsWith(" ") || OPERATOR.test(inner)) return false;
  const [head, ...tail] = inner.split(".");
  if (tail.length) return !tail.join(".").includes(" ") && !NOT_A_NAME.test(head!) && !NOT_A_NAME.test(tail.join("."));
  return !(NOT_A_NAME.test(inner) || isNumber(inner) || /\s\d/.test(inner));
}

function parsed(text: string): Reference {
  const [head, ...pieces] = text.slice(1, -1).split(".");
  return { ref: text, head: head!, path: pieces.flatMap(piecesOf) };
}

function piecesOf(piece: string): (string | number)[] {
  const numbered = (name: string) => (isNumber(name) ? Number(name) : name);
  const [, name = "", brackets = ""] = /^([^[\]]*)((?:\[[^\]]*\])*)$/.exec(piece) ?? [];
  if (!brackets) return [numbered(piece)];
  const indexes = [...brackets.matchAll(/\[([^\]]*)\]/g)].map((match) => match[1]!).filter(isNumber);
  return [...(name ? [numbered(name)] : []), ...indexes.map(Number)];
}

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

const ANSWERED = ["response", "url", "resumeEndpoint", "submission", "resumeInput", "submittedAt"];
const MODEL = ["content", "model", "tokens", "toolCalls", "providerTiming", "cost"];
const EVALUATED = ["content", "model", "tokens", "cost"];

/** Fields of a model's response format, in either of the shapes exports have. */
function formatFields(value: Json | undefined): [string, string][] | null {
  let parsed: unknown = value;
  try {
    if (typeof value === "string") parsed = JSON.parse(value);
  } catch {
    return null;
  }
  const whole = (parsed ?? {}) as { schema?: { properties?: unknown }; properties?: unknown };
  const properties = (whole.schema && typeof whole.schema === "object" ? whole.schema : whole).properties;
  if (!properties || typeof properties !== "object" || Array.isArray(properties)) return null;
  return Object.entries(properties).map(([name, about]) => [name, String((about as { type?: Json } | null)?.type ?? "any")]);
}

/** What a block puts out, as the engine declares it: [name, type]. */
function outputsOf(block: Block, spec: Spec | undefined): [string, string][] {
  const rows = (field: string): [string, string][] =>
    rowsOf(block.subBlocks?.[field]?.value).filter((row) => row.name).map((row) => [String(row.name), String(row.type ?? "any")]);
  const others = (names: string[]): [string, string][] => names.map((name) => [name, "any"]);
  if (TRIGGERS.includes(block.type)) return rows("inputFormat");
  if (block.type === "human_in_the_loop") return [...rows("inputFormat"), ...others(ANSWERED)];
  if (block.type === "evaluator") return [...others(EVALUATED), ...rows("metrics").map(([name]): [string, string] => [name.toLowerCase(), "number"])];
  if (block.type === "agent") {
    const fields = formatFields(block.subBlocks?.responseFormat?.value);
    return fields ? [...fields, ...others(MODEL.slice(1))] : others(MODEL);
  }
  const outputs = spec?.outputs[operationOf(spec, block)] ?? spec?.outputs[""] ?? {};
  return Object.entries(outputs).map(([name, about]) => [name, [about.type ?? "any"].flat().filter((kind) => kind !== "null").join(" or ")]);
}

const hasItems = (block: Block) => ["forEach", "collection"].includes(String(block.data?.loopType ?? block.data?.parallelType));
const isReference = (text: string) => split(text).every((segment) => typeof segment === "object");

/** What may be referred to in the fields of a block; of a loop, in its condition, too. */
export function offers(state: State, id: string, specs: Record<string, Spec>, variables: string[]): Offer[] {
  const found: Offer[] = [];
  const around: string[] = [];
  for (let at = state.blocks[id]?.data?.parentId; typeof at === "string"; at = state.blocks[at]?.data?.parentId) around.push(at);
  const inside: string[] = [];
  if (["while", "doWhile"].includes(String(state.blocks[id]?.data?.loopType))) {
    around.unshift(id);
    inside.push(id, ...Object.keys(state.blocks).filter((key) => state.blocks[key]?.data?.parentId === id));
  }
  for (const block of new Set([...upstream(state, id), ...inside.map((key) => state.blocks[key]!)])) {
    if (around.includes(block.id)) {
      const head = around[0] === block.id ? block.type : normalize(block.name);
      found.push({ text: `<${head}.index>`, detail: `number · ${block.name}` });
      if (hasItems(block)) found.push({ text: `<${head}.currentItem>`, detail: `any · ${block.name}` }, { text: `<${head}.items>`, detail: `array · ${block.name}` });
      continue;
    }
    const failed: [string, string][] = state.edges.some((edge) => edge.source === block.id && edge.sourceHandle === "error") ? [["error", "string"]] : [];
    for (const [name, kind] of [...outputsOf(block, specs[block.type]), ...failed])
      found.push({ text: `<${normalize(block.name)}.${name}>`, detail: `${kind} · ${block.name}` });
  }
  const stored = state.variables;
  for (const item of stored && typeof stored === "object" ? Object.values(stored) : []) {
    const variable = item as { name?: Json; type?: Json } | null;
    if (variable?.name) found.push({ text: `<variable.${normalize(String(variable.name))}>`, detail: String(variable.type ?? "any") });
  }
  for (const name of variables) found.push({ text: `{{${name}}}`, detail: "variable" });
  return found.filter((offer) => isReference(offer.text));
}

/** What is being typed before the caret: the start of a reference, or nothing. */
export function beingTyped(text: string, caret: number): { from: number; typed: string } | null {
  const before = text.slice(0, caret);
  const found = /(<[\w.]*|\{\{\w*)$/.exec(before);
  return found ? { from: found.index, typed: found[0] } : null;
}

function respelled(text: string, from: string, to: string): string {
  const spelled = (part: Segment): string => {
    if (typeof part === "string") return part;
    if ("env" in part) return `{{${part.env}}}`;
    return normalize(part.head) === from ? `<${to}${part.ref.slice(1 + part.head.length)}` : part.ref;
  };
  return split(text).map(spelled).join("");
}

function replaced(value: Json, from: string, to: string): Json {
  if (typeof value === "string") return respelled(value, from, to);
  if (Array.isArray(value)) {
    const items = value.map((item) => replaced(item, from, to));
    return items.every((item, index) => item === value[index]) ? value : items;
  }
  if (value && typeof value === "object") {
    const pairs = Object.entries(value).map(([key, item]) => [key, replaced(item, from, to)] as const);
    return pairs.every(([key, item]) => item === value[key]) ? value : Object.fromEntries(pairs);
  }
  return value;
}

/** Return the block with references to a block of the old name spelled with the new one. */
export function renameReferences(block: Block, from: string, to: string): Block {
  const [old, name] = [normalize(from), normalize(to)];
  const subBlocks = replaced(block.subBlocks as unknown as Json, old, name) as unknown as Block["subBlocks"];
  const data = replaced((block.data ?? null) as Json, old, name) as Block["data"];
  if (subBlocks === block.subBlocks && (data ?? null) === (block.data ?? null)) return block;
  return block.data === undefined ? { ...block, subBlocks } : { ...block, subBlocks, data };
}
