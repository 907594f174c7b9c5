/** Tidy up: positions from left to right by the edges, containers from the inside out. */

import dagre from "@dagrejs/dagre";
import { isContainer, parentOf, rebuilt, stateOf, withState } from "./document";
import type { Block, Document } from "./types";

const GAP = { x: 80, y: 60 }; // room for a line that says how a block is doing
const PADDING = { left: 110, top: 60, right: 60, bottom: 40 };

export type Sizes = Record<string, { width: number; height: number }>;

export function tidied(document: Document, sizes: Sizes): Document {
  const state = stateOf(document);
  const blocks: Record<string, Block> = { ...state.blocks };
  const size: Sizes = { ...sizes };

  const arrange = (parent: string | null) => {
    const inside = Object.values(state.blocks).filter((block) => parentOf(block) === parent && block.type !== "note");
    for (const block of inside) if (isContainer(block.type)) arrange(block.id);
    const graph = new dagre.graphlib.Graph();
    graph.setGraph({ rankdir: "LR", nodesep: GAP.y, ranksep: GAP.x });
    graph.setDefaultEdgeLabel(() => ({}));
    for (const block of inside) graph.setNode(block.id, { ...(size[block.id] ?? { width: 240, height: 110 }) });
    for (const edge of state.edges) if (graph.hasNode(edge.source) && graph.hasNode(edge.target)) graph.setEdge(edge.source, edge.target);
    dagre.layout(graph);
    let [right, bottom] = [0, 0];
    for (const block of inside) {
      const at = graph.node(block.id) as { x: number; y: number; width: number; height: number };
      const [left, top] = parent ? [PADDING.left, PADDING.top] : [60, 60];
      const position = { x: Math.round(left + at.x - at.width / 2), y: Math.round(top + at.y - at.height / 2) };
      blocks[block.id] = { ...blocks[block.id]!, position };
      right = Math.max(right, position.x + at.width);
      bottom = Math.max(bottom, position.y + at.height);
    }
    if (parent && inside.length) {
      const box = { width: Math.round(right + PADDING.right), height: Math.round(bottom + PADDING.bottom) };
      blocks[parent] = { ...blocks[parent]!, data: { ...blocks[parent]!.data, ...box } };
      size[parent] = box;
    }
  };
  arrange(null);
  return rebuilt(withState(document, { blocks }));
}
