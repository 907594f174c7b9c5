/** What can be done with blocks from more than one place: keys, panel and menus. */

import { useReactFlow } from "@xyflow/react";
import { clipOf, parentOf, pasted, stateOf, withBlock, without } from "./document";
import { tidied } from "./layout";
import { exported, secretNames } from "./secrets";
import { createWorkflow, edit, report, select, useCanvas } from "./store";
import type { Document } from "./types";

const CLIP = "sim-devin/blocks";

export function duplicate(ids: string[]): void {
  let fresh: string[] = [];
  edit((document) => {
    const [next, added] = pasted(document, clipOf(document, ids));
    fresh = added;
    return next;
  });
  select(fresh);
}

export function remove(blocks: string[], edges: string[] = []): void {
  edit((document) => without(document, blocks, edges));
  select([]);
}

export const isOff = (document: Document, ids: string[]) => ids.every((id) => stateOf(document).blocks[id]?.enabled === false);

/** Disable blocks, or enable them when all are disabled. */
export function turn(ids: string[]): void {
  edit((document) => {
    const enabled = isOff(document, ids);
    return ids.reduce((result, id) => withBlock(result, id, { enabled }), document);
  });
}

/** The open document as it leaves, by export or by copying. */
export function leaving(): Document | null {
  const { document, specs, info } = useCanvas.getState();
  return document && info && exported(document, specs, secretNames(info.secretNames));
}

/** Whether the run that is shown can be taken up again from this block. */
export function canRunFrom(id: string): boolean {
  const { document, run } = useCanvas.getState();
  const isOver = !!run?.result && run.status !== "running" && run.status !== "paused";
  return isOver && !!document && parentOf(stateOf(document).blocks[id]) === null;
}

export function clipText(ids: string[]): string {
  const document = leaving();
  return document ? JSON.stringify({ type: CLIP, ...clipOf(document, ids) }) : "";
}

/** Take over copied blocks, or a whole workflow as a new one; other text is left alone. */
export function pasteText(text: string): void {
  let clip;
  try {
    clip = JSON.parse(text);
  } catch {
    return;
  }
  if (clip?.type === CLIP && Array.isArray(clip.blocks) && Array.isArray(clip.edges)) {
    let fresh: string[] = [];
    edit((document) => { const [next, ids] = pasted(document, clip); fresh = ids; return next; });
    select(fresh);
  } else if ((clip?.state ?? clip)?.blocks && Array.isArray((clip.state ?? clip).edges)) {
    void createWorkflow("Pasted workflow", clip).catch(report);
  }
}

export function useTidy(): () => void {
  const flow = useReactFlow();
  return () => {
    const sizes = Object.fromEntries(flow.getNodes().filter((node) => node.measured?.width).map((node) => [node.id, { width: node.measured!.width!, height: node.measured!.height! }]));
    edit((all) => tidied(all, sizes));
    setTimeout(() => void flow.fitView({ maxZoom: 1, padding: 0.15 }), 80);
  };
}
