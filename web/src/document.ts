/** Edits of a document. Every function returns a new one and leaves the rest as it is, by identity. */

import { isSecretMark, rowsOf } from "./form";
import { normalize, renameReferences } from "./references";
import type { Block, Document, Edge, Json, Spec, State } from "./types";

export const CONTAINERS = ["loop", "parallel"];
export const isContainer = (type: string) => CONTAINERS.includes(type);
export const CONTAINER_SIZE = { width: 520, height: 260 };

export const stateOf = (document: Document): State =>
  ("state" in document && document.state && typeof document.state === "object" ? document.state : document) as State;

export function withState(document: Document, change: Partial<State>): Document {
  const state = { ...stateOf(document), ...change };
  return "state" in document && document.state ? { ...document, state } : (state as Document);
}

export function emptyDocument(name: string): Document {
  const id = crypto.randomUUID();
  const start: Block = {
    id,
    type: "start_trigger",
    name: "Start",
    position: { x: 80, y: 160 },
    subBlocks: { inputFormat: { id: "inputFormat", type: "input-format", value: [] } },
    outputs: {},
    enabled: true,
    data: {},
  };
  return {
    version: "1.0",
    exportedAt: new Date().toISOString(),
    state: { blocks: { [id]: start }, edges: [], loops: {}, parallels: {}, metadata: { name } },
  };
}

export const parentOf = (block: Block | undefined): string | null =>
  typeof block?.data?.parentId === "string" ? block.data.parentId : null;

export function withBlock(document: Document, id: string, change: Partial<Block>): Document {
  const { blocks } = stateOf(document);
  const block = blocks[id];
  if (!block) return document;
  return withState(document, { blocks: { ...blocks, [id]: { ...block, ...change } as Block } });
}

export function withValue(document: Document, id: string, field: string, widget: string, value: Json): Document {
  const block = stateOf(document).blocks[id];
  if (!block) return document;
  const before = block.subBlocks?.[field] ?? { id: field, type: widget, value: null };
  return withBlock(document, id, { subBlocks: { ...block.subBlocks, [field]: { ...before, value } } });
}

export function withData(document: Document, id: string, change: Record<string, Json | undefined>): Document {
  const block = stateOf(document).blocks[id];
  if (!block) return document;
  const data = { ...block.data, ...change };
  for (const key of Object.keys(change)) if (change[key] === undefined) delete data[key];
  const changed = withBlock(document, id, { data: data as Record<string, Json> });
  return isContainer(block.type) ? rebuilt(changed) : changed;
}

/** Put a block elsewhere: `parent` is the container it is now in, `position` relative to that. */
export function withPlace(document: Document, id: string, parent: string | null, position: Block["position"]): Document {
  const block = stateOf(document).blocks[id];
  if (!block) return document;
  const rounded = { x: Math.round(position.x), y: Math.round(position.y) };
  if (parent === parentOf(block)) return withBlock(document, id, { position: rounded });
  const moved = withData(withBlock(document, id, { position: rounded }), id, {
    parentId: parent ?? undefined,
    extent: parent ? "parent" : undefined,
  });
  return rebuilt(withState(moved, { edges: stateOf(moved).edges.filter((edge) => mayStay(stateOf(moved), edge)) }));
}

/** Edges may join blocks of one container, or a container with its own children. */
function mayStay(state: State, edge: Edge): boolean {
  const [source, target] = [state.blocks[edge.source], state.blocks[edge.target]];
  if (!source || !target) return true; // not ours to judge: kept as it came
  return parentOf(source) === parentOf(target) || parentOf(target) === source.id || parentOf(source) === target.id;
}

export const mayConnect = (state: State, edge: { source: string; target: string }): boolean => {
  const [source, target] = [state.blocks[edge.source], state.blocks[edge.target]];
  return !!source && !!target && source !== target && source.type !== "note" && target.type !== "note" && mayStay(state, edge as Edge);
};

export function uniqueName(state: State, wanted: string, except = ""): string {
  const taken = new Set(Object.values(state.blocks).filter((block) => block.id !== except).map((block) => normalize(block.name)));
  if (!taken.has(normalize(wanted))) return wanted;
  const stem = wanted.replace(/ \d+$/, "");
  for (let number = 2; ; number++) if (!taken.has(normalize(`${stem} ${number}`))) return `${stem} ${number}`;
}

export function newBlock(state: State, spec: Spec, position: Block["position"], parent: string | null): Block {
  const id = crypto.randomUUID();
  const subBlocks: Block["subBlocks"] = {};
  for (const field of spec.fields) {
    const variable = spec.credentials[field.id];
    const value = variable ? `{{${variable}}}` : field.default;
    if (value !== null || field.id === spec.operationField)
      subBlocks[field.id] = { id: field.id, type: field.widget, value };
  }
  if (spec.type === "condition") {
    const rows = [{ id: `${id}-if`, title: "if", value: "" }, { id: `${id}-else`, title: "else", value: "" }];
    subBlocks.conditions = { id: "conditions", type: "condition-input", value: JSON.stringify(rows) };
  }
  const data: Record<string, Json> = parent ? { parentId: parent, extent: "parent" } : {};
  if (isContainer(spec.type)) Object.assign(data, CONTAINER_SIZE, { count: 5, collection: "", type: "subflowNode" });
  if (spec.type === "loop") data.loopType = "for";
  if (spec.type === "parallel") data.parallelType = "count";
  return {
    id,
    type: spec.type,
    name: uniqueName(state, isContainer(spec.type) ? `${spec.title} 1` : spec.title), // <loop.…> is the loop around
    position: { x: Math.round(position.x), y: Math.round(position.y) },
    subBlocks,
    outputs: {},
    enabled: true,
    horizontalHandles: true,
    advancedMode: false,
    triggerMode: spec.category === "triggers",
    height: 0,
    data,
  };
}

export function withNewBlock(document: Document, block: Block): Document {
  return rebuilt(withState(document, { blocks: { ...stateOf(document).blocks, [block.id]: block } }));
}

export interface NewEdge {
  source: string;
  target: string;
  sourceHandle: string | null;
  targetHandle: string;
}

export function withEdge(document: Document, edge: NewEdge): Document {
  const state = stateOf(document);
  if (!mayConnect(state, edge)) return document;
  const same = (other: Edge) =>
    other.source === edge.source && other.target === edge.target && (other.sourceHandle || "source") === (edge.sourceHandle || "source");
  if (state.edges.some(same)) return document;
  return withState(document, { edges: [...state.edges, { id: crypto.randomUUID(), type: "workflowEdge", data: {}, ...edge }] });
}

/** Remove blocks with everything inside them, and edges. */
export function without(document: Document, blockIds: string[], edgeIds: string[] = []): Document {
  const state = stateOf(document);
  const gone = new Set(blockIds);
  for (let grew = true; grew; ) {
    grew = false;
    for (const block of Object.values(state.blocks)) {
      const parent = parentOf(block);
      if (parent && gone.has(parent) && !gone.has(block.id)) {
        gone.add(block.id);
        grew = true;
      }
    }
  }
  const blocks = Object.fromEntries(Object.entries(state.blocks).filter(([id]) => !gone.has(id)));
  const edges = state.edges.filter((edge) => !edgeIds.includes(edge.id) && !gone.has(edge.source) && !gone.has(edge.target));
  return rebuilt(withState(document, { blocks, edges }));
}

/** Rename a block, and every reference to it. */
export function renamed(document: Document, id: string, wanted: string): Document {
  const state = stateOf(document);
  const block = state.blocks[id];
  if (!block || !wanted.trim() || block.name === wanted.trim()) return document;
  const name = uniqueName(state, wanted.trim(), id);
  const blocks = Object.fromEntries(
    Object.entries(state.blocks).map(([key, other]) => [key, renameReferences(other, block.name, name)]),
  );
  return withState(document, { blocks: { ...blocks, [id]: { ...blocks[id]!, name } } });
}

export interface Clip {
  blocks: Block[];
  edges: Edge[];
}

export function clipOf(document: Document, ids: string[]): Clip {
  const state = stateOf(document);
  const chosen = new Set(ids);
  for (const block of Object.values(state.blocks)) {
    for (let at = parentOf(block); at; at = parentOf(state.blocks[at])) if (chosen.has(at)) chosen.add(block.id);
  }
  return {
    blocks: Object.values(state.blocks).filter((block) => chosen.has(block.id)),
    edges: state.edges.filter((edge) => chosen.has(edge.source) && chosen.has(edge.target)),
  };
}

/** Put copies in: new ids, free names, references among them kept, stored secrets left behind. Returns the new ids, too. */
export function pasted(document: Document, clip: Clip): [Document, string[]] {
  const ids = new Map(clip.blocks.map((block) => [block.id, crypto.randomUUID() as string]));
  const swap = (text: string) => [...ids].reduce((all, [from, to]) => all.replaceAll(from, to), text);
  let result = document;
  const renames: [from: string, to: string][] = [];
  for (const original of clip.blocks) {
    const id = ids.get(original.id)!;
    const parent = parentOf(original);
    const inside = parent !== null && ids.has(parent);
    const stays = parent !== null && !inside && stateOf(document).blocks[parent] !== undefined;
    const subBlocks = Object.fromEntries(
      Object.entries(original.subBlocks ?? {}).map(([key, sub]) => [
        key,
        isSecretMark(sub.value)
          ? { ...sub, value: null }
          : key === "conditions" || key === "routes"
            ? { ...sub, value: JSON.parse(swap(JSON.stringify(sub.value))) as Json }
            : sub,
      ]),
    );
    const data: Record<string, Json> = { ...original.data };
    if (inside) data.parentId = ids.get(parent)!;
    else if (!stays) {
      delete data.parentId;
      delete data.extent;
    }
    const shift = inside ? 0 : 40;
    const block: Block = {
      ...original,
      id,
      name: uniqueName(stateOf(result), original.name),
      position: { x: original.position.x + shift, y: original.position.y + shift },
      subBlocks,
      data,
    };
    if (block.name !== original.name) renames.unshift([original.name, block.name]);
    result = withState(result, { blocks: { ...stateOf(result).blocks, [id]: block } });
  }
  // The last first: a copy may have got the name that a later one had.
  for (const id of ids.values()) {
    const { blocks } = stateOf(result);
    result = withState(result, { blocks: { ...blocks, [id]: renames.reduce((block, [from, to]) => renameReferences(block, from, to), blocks[id]!) } });
  }
  const edges = clip.edges.map((edge) => ({
    ...edge,
    id: crypto.randomUUID() as string,
    source: ids.get(edge.source)!,
    target: ids.get(edge.target)!,
    sourceHandle: edge.sourceHandle ? swap(edge.sourceHandle) : edge.sourceHandle,
  }));
  result = withState(result, { edges: [...stateOf(result).edges, ...edges] });
  return [rebuilt(result), [...ids.values()]];
}

/** Derive the loops and parallels from their blocks, as Sim does; equal ones stay the same object. */
export function rebuilt(document: Document): Document {
  const state = stateOf(document);
  const maps: Record<string, Record<string, Json>> = { loops: {}, parallels: {} };
  for (const block of Object.values(state.blocks)) {
    if (!isContainer(block.type)) continue;
    const key = block.type === "loop" ? "loops" : "parallels";
    const data = block.data ?? {};
    const nodes = Object.values(state.blocks).filter((child) => parentOf(child) === block.id).map((child) => child.id);
    const before = (state[key]?.[block.id] ?? {}) as Record<string, Json>;
    const derived: Record<string, Json> =
      block.type === "loop"
        ? { ...before, id: block.id, nodes, iterations: data.count || 5, loopType: data.loopType || "for", forEachItems: data.collection ?? "", whileCondition: data.whileCondition ?? "", doWhileCondition: data.doWhileCondition ?? "" }
        : { ...before, id: block.id, nodes, count: data.count || 5, parallelType: data.parallelType || "count", distribution: data.collection ?? "" };
    maps[key]![block.id] = JSON.stringify(before) === JSON.stringify(derived) ? before : derived;
  }
  const change: Partial<State> = {};
  for (const key of ["loops", "parallels"] as const) {
    const hasBlocks = Object.keys(maps[key]!).length > 0;
    if (hasBlocks || (state[key] && Object.values(state.blocks).some((block) => isContainer(block.type)))) change[key] = maps[key];
  }
  return Object.keys(change).length ? withState(document, change) : document;
}

/** Handles a block's edges can leave from, with what they are called. */
export function handlesOf(block: Block, spec: Spec | undefined): { id: string; label: string }[] {
  if (block.type === "note" || block.type === "response") return [];
  if (block.type === "condition")
    return [...rowsOf(block.subBlocks?.conditions?.value).map((row) => ({ id: `condition-${row.id}`, label: String(row.title || "if") })), { id: "error", label: "error" }];
  if (block.type === "router_v2")
    return [...rowsOf(block.subBlocks?.routes?.value).map((row) => ({ id: `router-${row.id}`, label: String(row.title || "route") })), { id: "error", label: "error" }];
  if (isContainer(block.type))
    return [
      { id: `${block.type}-start-source`, label: "start" },
      { id: `${block.type}-end-source`, label: "end" },
    ];
  const isTrigger = spec?.category === "triggers" || block.triggerMode === true;
  return isTrigger ? [{ id: "source", label: "then" }] : [{ id: "source", label: "then" }, { id: "error", label: "error" }];
}
