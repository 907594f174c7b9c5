/** Cards on the canvas: blocks, containers and notes. */

import { Handle, type NodeProps, NodeResizer, Position, useStore } from "@xyflow/react";
import { memo } from "react";
import { CardAnswer } from "./answers";
import { handlesOf, stateOf, withData } from "./document";
import { isShown, operationLabel, rowsOf, valuesOf } from "./form";
import { bare, told } from "./runState";
import { edit, useCanvas } from "./store";
import type { Block, Json, Spec } from "./types";

export function Icon({ spec, type }: { spec?: Spec; type: string }) {
  const words = (spec?.title ?? type).replace(/[()]/g, "").split(/[\s_]+/);
  const letters = spec?.icon || ((words[0]?.[0] ?? "?") + (words[1]?.[0] ?? words[0]?.[1] ?? "")).toUpperCase();
  return (
    <svg className="icon" viewBox="0 0 28 28" aria-hidden="true">
      <rect x="0.5" y="0.5" width="27" height="27" rx="6" fill={spec?.color ?? "#6b7280"} />
      <text x="14" y="18.5" textAnchor="middle" fill={isLight(spec?.color) ? "#14171f" : "#fff"}>{letters}</text>
    </svg>
  );
}

function isLight(color = "#6b7280"): boolean {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return (r ?? 0) * 0.299 + (g ?? 0) * 0.587 + (b ?? 0) * 0.114 > 130;
}

export function plain(value: Json | undefined): string {
  if (value === null || value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** A value in a few words: a list of named rows, or of a table's rows, by their names. */
function short(value: Json | undefined): string {
  const rows = Array.isArray(value) ? rowsOf(value) : [];
  const names = rows.map((row) => row.name ?? row.variableName ?? (row.cells as Record<string, Json> | undefined)?.Key).filter(Boolean);
  return names.length && names.length === rows.length ? names.join(", ") : plain(value);
}

function summary(spec: Spec | undefined, block: Block): [string, string][] {
  if (!spec) return Object.entries(block.subBlocks ?? {}).slice(0, 2).map(([name, sub]) => [name, plain(sub?.value)]);
  const values = valuesOf(block);
  return spec.fields
    .filter((field) => field.id !== spec.operationField && !(field.id in spec.credentials) && !field.secret)
    .filter((field) => isShown(spec, field, values) && plain(values[field.id]).trim() && plain(values[field.id]) !== "[]")
    .filter((field) => !["condition-input", "router-input"].includes(field.widget))
    .slice(0, 2)
    .map((field) => [field.title || field.id, short(values[field.id])]);
}

function StatusLine({ id }: { id: string }) {
  const run = useCanvas((state) => state.run?.blocks[id]);
  const urls = useCanvas((state) => state.run?.urls);
  const acus = useCanvas((state) => state.run?.acus);
  if (!run) return null;
  const session = run.progress?.sessionId ?? run.highlights?.sessionId;
  const url = session ? (urls?.[bare(session)] ?? "") : "";
  const spent = session ? acus?.[bare(session)] : undefined;
  return (
    <div className={`status is-${run.status}`}>
      <span className="dot" aria-hidden="true" />
      <span className="status-text">{told(run, run.count, run.more)}</span>
      {!!spent && <span className="acus">{spent} ACU</span>}
      {/^https?:/.test(url) && (
        <a className="nodrag" href={url} target="_blank" rel="noopener noreferrer">Session</a>
      )}
    </div>
  );
}

const useBlock = (id: string) => useCanvas((state) => (state.document ? stateOf(state.document).blocks[id] : undefined));
const useStatus = (id: string) => useCanvas((state) => state.run?.blocks[id]?.status ?? "");

function useProblems(id: string): string {
  return useCanvas((state) => state.problems.filter((item) => item.blockId === id && item.level === "error").map((item) => item.problem).join("\n"));
}

export const BlockNode = memo(function BlockNode({ id, selected }: NodeProps) {
  const block = useBlock(id);
  const spec = useCanvas((state) => (block ? state.specs[block.type] : undefined));
  const status = useStatus(id);
  const problems = useProblems(id);
  const far = useStore((state) => state.transform[2] < 0.35);
  if (!block) return null;
  const handles = handlesOf(block, spec);
  const branches = handles.filter((handle) => /^(condition|router)-/.test(handle.id));
  const isTrigger = spec?.category === "triggers" || block.triggerMode === true;
  const hasOut = handles.some((handle) => handle.id === "source");
  return (
    <div className={`card ${selected ? "is-selected" : ""} ${block.enabled === false ? "is-disabled" : ""} ${status ? `has-${status}` : ""}`}>
      {!isTrigger && <Handle type="target" position={Position.Left} id="target" />}
      <div className="card-head">
        <Icon spec={spec} type={block.type} />
        <span className="card-name" title={block.name}>{block.name}</span>
        {problems && <span className="badge is-error" title={problems}>{problems.split("\n").length} to fix</span>}
        {block.enabled === false && <span className="badge">Off</span>}
        {!spec && <span className="badge is-unknown">Unknown block</span>}
      </div>
      {!far && (
        <div className="card-body">
          {spec?.operationField && <div className="operation">{operationLabel(spec, block)}</div>}
          {!spec && <div className="operation">{block.type}</div>}
          {summary(spec, block).map(([title, value]) => (
            <div className="row" key={title}><span className="row-title">{title}</span><span className="row-value">{value.slice(0, 80)}</span></div>
          ))}
          {branches.map((branch) => (
            <div className="row branch" key={branch.id}>
              <span className="row-title">{branch.label}</span>
              <span className="row-value">{branchText(block, branch.id)}</span>
              <Handle type="source" position={Position.Right} id={branch.id} />
            </div>
          ))}
        </div>
      )}
      {far && branches.map((branch) => <Handle key={branch.id} type="source" position={Position.Right} id={branch.id} />)}
      <StatusLine id={id} />
      {!far && <CardAnswer id={id} name={block.name} />}
      {hasOut && <Handle type="source" position={Position.Right} id="source" />}
      {handles.some((handle) => handle.id === "error") && (
        <Handle type="source" position={Position.Right} id="error" className="handle-error" title="On error" />
      )}
    </div>
  );
});

function branchText(block: Block, handle: string): string {
  for (const key of ["conditions", "routes"]) {
    const value = block.subBlocks?.[key]?.value;
    let rows: unknown = value;
    try {
      rows = typeof value === "string" ? JSON.parse(value) : value;
    } catch {
      return "";
    }
    if (!Array.isArray(rows)) continue;
    const row = rows.find((item) => handle.endsWith(String(item?.id)));
    if (row) return String(row.value ?? "").slice(0, 60);
  }
  return "";
}

function loopText(block: Block): string {
  const data = block.data ?? {};
  const kind = String(data.loopType ?? data.parallelType ?? "");
  if (kind === "forEach" || kind === "collection") return `for each of ${plain(data.collection) || "…"}`;
  if (kind === "while") return `while ${plain(data.whileCondition) || "…"}`;
  if (kind === "doWhile") return `until not ${plain(data.doWhileCondition) || "…"}`;
  return `${plain(data.count) || 5} times`;
}

export const ContainerNode = memo(function ContainerNode({ id, selected }: NodeProps) {
  const block = useBlock(id);
  const spec = useCanvas((state) => (block ? state.specs[block.type] : undefined));
  const status = useStatus(id);
  const problems = useProblems(id);
  if (!block) return null;
  return (
    <div className={`container ${selected ? "is-selected" : ""} ${block.enabled === false ? "is-disabled" : ""} ${status ? `has-${status}` : ""}`}>
      <NodeResizer
        isVisible={selected} minWidth={260} minHeight={140}
        onResizeEnd={(_event, { width, height }) => edit((document) => withData(document, id, { width: Math.round(width), height: Math.round(height) }))}
      />
      <Handle type="target" position={Position.Left} id="target" />
      <div className="card-head">
        <Icon spec={spec} type={block.type} />
        <span className="card-name">{block.name}</span>
        <span className="container-kind">{loopText(block)}</span>
        {problems && <span className="badge is-error" title={problems}>{problems.split("\n").length} to fix</span>}
      </div>
      <div className="container-start"><span>Start</span><Handle type="source" position={Position.Right} id={`${block.type}-start-source`} /></div>
      <StatusLine id={id} />
      <Handle type="source" position={Position.Right} id={`${block.type}-end-source`} />
    </div>
  );
});

export const NoteNode = memo(function NoteNode({ id, selected }: NodeProps) {
  const block = useBlock(id);
  if (!block) return null;
  return <div className={`note ${selected ? "is-selected" : ""}`}>{plain(block.subBlocks?.content?.value) || "Empty note"}</div>;
});

