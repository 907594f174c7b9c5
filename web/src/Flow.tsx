/** The canvas itself: React Flow over the document. */

import {
  applyNodeChanges, Background, type Connection, Controls, type Edge as FlowEdge, MiniMap, type Node as FlowNode,
  type NodeChange, type OnConnectEnd, ReactFlow, useReactFlow,
} from "@xyflow/react";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { CONTAINER_SIZE, isContainer, mayConnect, newBlock, parentOf, stateOf, withEdge, withNewBlock, withPlace, without, withState } from "./document";
import { BlockNode, ContainerNode, NoteNode } from "./nodes";
import { edit, importFile, openMenu, select, show, type Spot, useCanvas } from "./store";
import type { Block, Document, Edge } from "./types";

const NODE_TYPES = { block: BlockNode, container: ContainerNode, note: NoteNode };
export const DRAG_TYPE = "application/x-sim-devin-block";
const MANY = 100; // blocks from which on only those in view are drawn

const kindOf = (type: string) => (isContainer(type) ? "container" : type === "note" ? "note" : "block");

function depth(blocks: Record<string, Block>, block: Block): number {
  let count = 0;
  for (let at = parentOf(block); at && blocks[at] && count < 50; at = parentOf(blocks[at])) count += 1;
  return count;
}

function nodesOf(document: Document, before: FlowNode[], selected: string[]): FlowNode[] {
  const { blocks } = stateOf(document);
  const known = new Map(before.map((node) => [node.id, node]));
  const listed = Object.values(blocks).map((block) => ({ block, level: depth(blocks, block) }));
  listed.sort((one, other) => one.level - other.level); // parents have to come first
  return listed.map(({ block, level }) => {
    const parent = parentOf(block);
    const old = known.get(block.id);
    const container = isContainer(block.type);
    const width = Number(block.data?.width) || CONTAINER_SIZE.width;
    const height = Number(block.data?.height) || CONTAINER_SIZE.height;
    return {
      ...(old?.measured ? { measured: old.measured } : {}),
      id: block.id,
      type: kindOf(block.type),
      position: block.position,
      parentId: parent && blocks[parent] ? parent : undefined,
      selected: selected.includes(block.id),
      data: {},
      ariaLabel: `${block.name}, ${block.type.replaceAll("_", " ")}`,
      zIndex: container ? level - 10 : level,
      ...(container ? { width, height } : {}),
    };
  });
}

function edgesOf(document: Document, chosen: string[]): FlowEdge[] {
  const { blocks, edges } = stateOf(document);
  return edges.filter((edge) => blocks[edge.source] && blocks[edge.target]).map((edge) => {
    const handle = edge.sourceHandle || "source";
    const on = handle === "source" ? "" : `, on ${handle.replace(/^.*-(if|else|start|end|source)/, "$1").slice(0, 12)}`;
    return {
      id: edge.id,
      source: edge.source,
      target: edge.target,
      sourceHandle: handle.startsWith("source-") ? "source" : isContainer(blocks[edge.source]!.type) && !handle.includes("-start-") ? `${blocks[edge.source]!.type}-end-source` : handle,
      targetHandle: "target",
      selected: chosen.includes(edge.id),
      className: handle === "error" ? "is-error" : "",
      zIndex: 0,
      type: "smoothstep", // one that leads back runs between the rows, not behind the blocks
      ariaLabel: `From ${blocks[edge.source]!.name} to ${blocks[edge.target]!.name}${on}`,
    };
  });
}

export function Flow({ theme }: { theme: "light" | "dark" }) {
  const document = useCanvas((state) => state.document)!;
  const workflow = useCanvas((state) => state.workflow);
  const selected = useCanvas((state) => state.selected);
  const specs = useCanvas((state) => state.specs);
  const [nodes, setNodes] = useState<FlowNode[]>(() => nodesOf(document, [], selected));
  const [chosenEdges, setChosenEdges] = useState<string[]>([]);
  const dragging = useRef(false);
  const flow = useReactFlow();

  useEffect(() => setNodes((before) => nodesOf(document, before, useCanvas.getState().selected)), [document]);
  useEffect(
    () => setNodes((before) => before.map((node) => (node.selected === selected.includes(node.id) ? node : { ...node, selected: selected.includes(node.id) }))),
    [selected],
  );
  const hasPanel = useCanvas((state) => state.run !== null || state.runs.length > 0);
  useEffect(() => {
    // An empty canvas must not be fitted: it would zoom onto the first block dropped.
    const timer = setTimeout(() => void flow.fitView({ maxZoom: 1, padding: 0.15 }), 60);
    return () => clearTimeout(timer);
  }, [workflow, hasPanel, flow]);

  const edges = useMemo(() => edgesOf(document, chosenEdges), [document, chosenEdges]);

  const onNodesChange = useCallback((changes: NodeChange[]) => {
    setNodes((before) => applyNodeChanges(changes.filter((change) => change.type !== "select" && change.type !== "remove"), before));
    const picks = changes.filter((change) => change.type === "select");
    if (picks.length) {
      const now = new Set(useCanvas.getState().selected);
      for (const pick of picks) pick.selected ? now.add(pick.id) : now.delete(pick.id);
      select([...now]);
    }
    // Arrow keys move without a drag; the last change of a drag looks the same but comes within it.
    if (!dragging.current) {
      const moves = changes.filter((change) => change.type === "position" && change.position && !change.dragging);
      if (moves.length)
        edit((all) => moves.reduce((result, move) => (move.type === "position" && move.position ? withPlace(result, move.id, parentOf(stateOf(result).blocks[move.id]), move.position) : result), all), "move");
    }
  }, []);

  /** The innermost container at a point of the canvas, and that point within it. */
  const placeAt = useCallback(
    (point: { x: number; y: number }, moving: string[]) => {
      const { blocks } = stateOf(useCanvas.getState().document!);
      const found = Object.values(blocks)
        .filter((block) => isContainer(block.type) && !moving.includes(block.id))
        .filter((block) => {
          for (let at = parentOf(block); at; at = parentOf(blocks[at])) if (moving.includes(at)) return false;
          return true;
        })
        .map((block) => ({ block, node: flow.getInternalNode(block.id), level: depth(blocks, block) }))
        .filter(({ block, node }) => {
          const at = node?.internals.positionAbsolute;
          const [width, height] = [Number(block.data?.width) || CONTAINER_SIZE.width, Number(block.data?.height) || CONTAINER_SIZE.height];
          return at && point.x >= at.x && point.x <= at.x + width && point.y >= at.y && point.y <= at.y + height;
        })
        .sort((one, other) => other.level - one.level)[0];
      const origin = found?.node?.internals.positionAbsolute ?? { x: 0, y: 0 };
      return { parent: found?.block.id ?? null, origin };
    },
    [flow],
  );

  const onNodeDragStop = useCallback(
    (_event: unknown, _node: FlowNode, moved: FlowNode[]) => {
      dragging.current = false;
      const ids = moved.map((node) => node.id);
      edit((all) => {
        let result = all;
        for (const node of moved) {
          const inner = flow.getInternalNode(node.id);
          if (!inner || (node.parentId && ids.includes(node.parentId))) continue;
          const at = inner.internals.positionAbsolute;
          const center = { x: at.x + (node.measured?.width ?? 0) / 2, y: at.y + Math.min(node.measured?.height ?? 0, 80) / 2 };
          const { parent, origin } = placeAt(center, ids);
          result = withPlace(result, node.id, parent, { x: at.x - origin.x, y: at.y - origin.y });
        }
        return result;
      });
    },
    [flow, placeAt],
  );

  const onConnect = useCallback(
    (link: Connection) => edit((all) => withEdge(all, { source: link.source, target: link.target, sourceHandle: link.sourceHandle, targetHandle: "target" })),
    [],
  );

  /** Where a new block would stand at a point of the screen; `wire` has to be able to reach it. */
  const spotAt = (at: { clientX: number; clientY: number }, wire?: Spot["wire"]): Spot => {
    const point = flow.screenToFlowPosition({ x: at.clientX, y: at.clientY });
    const { parent, origin } = placeAt(point, []);
    const { blocks } = stateOf(document);
    const from = wire ? blocks[wire.block] : undefined;
    const wanted = from && wire ? (wire.handle?.includes("-start-") ? from.id : parentOf(from)) : parent;
    if (wanted === parent) return { position: { x: point.x - origin.x, y: point.y - origin.y - 20 }, parent, wire };
    // Let go in another container than it may reach: beside the block it comes from.
    const beside = from && wanted !== from.id ? from.position : { x: -280, y: 60 };
    return { position: { x: beside.x + (wire?.type === "target" ? -320 : 320), y: beside.y }, parent: wanted, wire };
  };

  const onConnectEnd: OnConnectEnd = (event, { fromHandle, toHandle }) => {
    const target = event.target as Element;
    const isFree = target.classList.contains("react-flow__pane") || target.classList.contains("container");
    if (!fromHandle || toHandle || !isFree) return;
    const at = "changedTouches" in event ? event.changedTouches[0]! : event;
    const wire = { block: fromHandle.nodeId, handle: fromHandle.id ?? null, type: fromHandle.type };
    useCanvas.setState({ spot: spotAt(at, wire), dialog: "add" });
  };

  const onMenu = (event: React.MouseEvent | MouseEvent, of: { block?: string; edge?: string } = {}) => {
    if ((event.target as Element).closest("input, textarea, select, a")) return; // these have menus of their own
    event.preventDefault();
    if (of.block && !selected.includes(of.block)) select([of.block]);
    openMenu({ x: event.clientX, y: event.clientY, ...of, spot: spotAt(event) });
  };

  const onDrop = (event: React.DragEvent) => {
    event.preventDefault();
    const file = event.dataTransfer.files[0];
    if (file) {
      void importFile(file);
      return;
    }
    const spec = specs[event.dataTransfer.getData(DRAG_TYPE)];
    if (!spec) return;
    const point = flow.screenToFlowPosition({ x: event.clientX, y: event.clientY });
    const { parent, origin } = placeAt(point, []);
    const block = newBlock(stateOf(document), spec, { x: point.x - origin.x - 20, y: point.y - origin.y - 20 }, parent);
    edit((all) => withNewBlock(all, block));
    select([block.id]);
  };

  const count = Object.keys(stateOf(document).blocks).length;
  return (
    <ReactFlow
      nodes={nodes} edges={edges} nodeTypes={NODE_TYPES} colorMode={theme}
      onNodesChange={onNodesChange}
      onEdgesChange={(changes) => setChosenEdges((before) => changes.reduce((all, change) => (change.type === "select" ? [...all.filter((id) => id !== change.id), ...(change.selected ? [change.id] : [])] : all), before))}
      onConnect={onConnect} onConnectEnd={onConnectEnd}
      onNodeContextMenu={(event, node) => onMenu(event, { block: node.id })}
      onEdgeContextMenu={(event, edge) => onMenu(event, { edge: edge.id })}
      onSelectionContextMenu={(event, picked) => onMenu(event, { block: picked[0]?.id })}
      onPaneContextMenu={onMenu}
      onReconnect={(old, link) => edit((all) => {
        const state = stateOf(all);
        if (!mayConnect(state, link)) return all;
        return withState(all, { edges: state.edges.map((edge): Edge => (edge.id === old.id ? { ...edge, source: link.source, target: link.target, sourceHandle: link.sourceHandle } : edge)) });
      })}
      isValidConnection={(link) => mayConnect(stateOf(document), link)}
      onNodeDragStart={() => { dragging.current = true; }}
      onNodeDragStop={onNodeDragStop}
      onSelectionDragStart={() => { dragging.current = true; }}
      onSelectionDragStop={(event, moved) => moved[0] && onNodeDragStop(event, moved[0], moved)}
      onDelete={({ nodes: goneNodes, edges: goneEdges }) => {
        edit((all) => without(all, goneNodes.map((node) => node.id), goneEdges.map((edge) => edge.id)));
        select([]);
      }}
      onDragOver={(event) => { event.preventDefault(); event.dataTransfer.dropEffect = event.dataTransfer.types.includes("Files") ? "copy" : "move"; }}
      onDrop={onDrop}
      onDoubleClick={(event) => (event.target as Element).classList.contains("react-flow__pane") && show("add")}
      deleteKeyCode={["Delete", "Backspace"]} multiSelectionKeyCode={["Control", "Meta", "Shift"]}
      snapToGrid snapGrid={[10, 10]} connectionRadius={30} minZoom={0.1} maxZoom={2}
      onlyRenderVisibleElements={count > MANY} zoomOnDoubleClick={false}
      nodesFocusable edgesFocusable disableKeyboardA11y={false}
      aria-label="Workflow"
    >
      <Background gap={20} />
      <Controls showInteractive={false} fitViewOptions={{ maxZoom: 1, padding: 0.15 }} aria-label="Zoom" />
      {count > 3 && <MiniMap pannable zoomable ariaLabel="Overview" className="overview" />}
    </ReactFlow>
  );
}
