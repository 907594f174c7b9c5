/** The side panel: the selected block's form, its connections, and what it did in the run. */

import { useEffect, useState } from "react";
import { ActButton } from "./acts";
import { canRunFrom, duplicate, remove, turn } from "./actions";
import { handlesOf, isContainer, mayConnect, renamed, stateOf, withData, withEdge, without } from "./document";
import { FieldRow, RefText } from "./fields";
import { isBuiltIn, isRequired, isShown, operationOf, valuesOf } from "./form";
import { Icon, plain } from "./nodes";
import { BlockOutput } from "./RunPanel";
import { START, startRun } from "./runs";
import { edit, select, useCanvas } from "./store";
import type { Block, Json, Spec } from "./types";

export function Panel() {
  const selected = useCanvas((state) => state.selected);
  const block = useCanvas((state) => (state.document && state.selected.length === 1 ? stateOf(state.document).blocks[state.selected[0]!] : undefined));
  if (!block)
    return (
      <aside className="panel" aria-label="Block">
        <p className="empty">{selected.length > 1 ? `${selected.length} blocks are selected.` : "Select a block to see its settings, or drag one in from the left."}</p>
        <WorkflowProblems />
      </aside>
    );
  return (
    <aside className="panel" aria-label="Block">
      <BlockPanel key={block.id} block={block} />
    </aside>
  );
}

export function WorkflowProblems() {
  const problems = useCanvas((state) => state.problems);
  if (!problems.length) return null;
  return (
    <section>
      <h2>Problems</h2>
      <ul className="problems">
        {problems.map((item, index) => (
          <li key={index} className={`is-${item.level}`}>
            {item.blockId ? <button type="button" className="link" onClick={() => select([item.blockId!])}>{item.place.split(".")[0]}</button> : null} {item.problem}
          </li>
        ))}
      </ul>
    </section>
  );
}

function BlockPanel({ block }: { block: Block }) {
  const spec = useCanvas((state) => state.specs[block.type]);
  const problems = useCanvas((state) => state.problems);
  const run = useCanvas((state) => state.run);
  const [name, setName] = useState(block.name);
  const mine = problems.filter((item) => item.blockId === block.id);
  useEffect(() => setName(block.name), [block.name]);
  const rename = () => {
    edit((document) => renamed(document, block.id, name));
    setName(stateOf(useCanvas.getState().document!).blocks[block.id]?.name ?? block.name);
  };
  return (
    <>
      <header className="panel-head">
        <Icon spec={spec} type={block.type} />
        <input aria-label="Name" value={name} onChange={(event) => setName(event.target.value)} onBlur={rename} onKeyDown={(event) => event.key === "Enter" && rename()} />
      </header>
      <p className="about">{spec?.description ?? `Unknown block type ${block.type}. It is preserved, but cannot run.`}</p>
      {spec && !isBuiltIn(spec) && <p className="about">Brought by {spec.owner}.</p>}
      <div className="actions" role="group" aria-label="Block actions">
        <button type="button" onClick={() => turn([block.id])}>{block.enabled === false ? "Enable" : "Disable"}</button>
        <button type="button" onClick={() => duplicate([block.id])}>Duplicate</button>
        {run && canRunFrom(block.id) && <ActButton act={START} busy="Starting…" onClick={() => void startRun({ fromBlock: block.id, earlier: run.id })}>Run from here</ActButton>}
        <button type="button" className="danger" onClick={() => remove([block.id])}>Delete</button>
      </div>
      {mine.filter((item) => !item.field || !spec?.fields.some((field) => field.id === item.field)).map((item, index) => (
        <p key={index} className={item.level === "error" ? "field-error" : "field-warning"}>{item.problem}</p>
      ))}
      {run?.blocks[block.id] && <BlockOutput block={block} />}
      {isContainer(block.type) ? <ContainerForm block={block} /> : spec ? <Form block={block} spec={spec} /> : <RawForm block={block} />}
      {block.type !== "note" && <Connections block={block} spec={spec} />}
    </>
  );
}

function Form({ block, spec }: { block: Block; spec: Spec }) {
  const problems = useCanvas((state) => state.problems);
  const stored = valuesOf(block);
  // What the dropdown shows is what counts here, stored or not.
  const values = spec.operationField ? { ...stored, [spec.operationField]: operationOf(spec, block) } : stored;
  const shown = spec.fields.filter((field) => isShown(spec, field, values));
  const row = (field: (typeof shown)[number]) => {
    const found = problems.find((item) => item.blockId === block.id && item.field === field.id);
    return <FieldRow key={field.id} block={block.id} field={field} value={stored[field.id] ?? null} required={isRequired(spec, field, values)} problem={found ? found.problem : ""} variable={spec.credentials[field.id] ?? ""} suggested={inCapitals(`${spec.type}_${field.id}`)} />;
  };
  const operation = shown.find((field) => field.id === spec.operationField);
  const basic = shown.filter((field) => !field.advanced && field !== operation && !(field.id in spec.credentials));
  const advanced = shown.filter((field) => field.advanced);
  const credentials = shown.filter((field) => field.id in spec.credentials);
  const filled = advanced.filter((field) => plain(stored[field.id]).trim()).length;
  const chosen = operationOf(spec, block);
  return (
    <form onSubmit={(event) => event.preventDefault()}>
      {operation && row(operation)}
      {spec.operationField && <p className="field-help">{spec.descriptions[chosen]}{spec.costsMoney.includes(chosen) && <strong> This may be billed.</strong>}</p>}
      {basic.map(row)}
      {credentials.length > 0 && <fieldset><legend>Account</legend>{credentials.map(row)}</fieldset>}
      {advanced.length > 0 && (
        <details open={advanced.some((field) => problems.some((item) => item.blockId === block.id && item.field === field.id)) || undefined}>
          <summary>Advanced{filled ? ` (${filled} set)` : ""}</summary>
          {advanced.map(row)}
        </details>
      )}
    </form>
  );
}

/** A name for a variable: agent_apiKey becomes AGENT_API_KEY. */
const inCapitals = (name: string) => name.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toUpperCase();

function RawForm({ block }: { block: Block }) {
  return (
    <dl className="raw">
      {Object.entries(block.subBlocks ?? {}).map(([name, sub]) => (
        <div key={name}><dt>{name}</dt><dd>{plain(sub?.value) || "–"}</dd></div>
      ))}
    </dl>
  );
}

const KINDS: Record<string, [string, string][]> = {
  loop: [["for", "A number of times"], ["forEach", "For each item"], ["while", "While a condition is true"], ["doWhile", "At least once, while a condition is true"]],
  parallel: [["count", "A number of branches"], ["collection", "A branch for each item"]],
};

function ContainerForm({ block }: { block: Block }) {
  const key = block.type === "loop" ? "loopType" : "parallelType";
  const kind = String(block.data?.[key] ?? KINDS[block.type]![0]![0]);
  const set = (change: Record<string, Json>) => edit((document) => withData(document, block.id, change), `${block.id}.data`);
  const text = kind === "while" ? "whileCondition" : kind === "doWhile" ? "doWhileCondition" : kind === "forEach" || kind === "collection" ? "collection" : "";
  return (
    <form onSubmit={(event) => event.preventDefault()}>
      <div className="field">
        <label htmlFor="container-kind">Runs</label>
        <select id="container-kind" value={kind} onChange={(event) => set({ [key]: event.target.value })}>
          {KINDS[block.type]!.map(([id, label]) => <option key={id} value={id}>{label}</option>)}
        </select>
      </div>
      {(kind === "for" || kind === "count") && (
        <div className="field">
          <label htmlFor="container-count">How often</label>
          <input id="container-count" type="number" min={1} value={plain(block.data?.count)} onChange={(event) => set({ count: Number(event.target.value) || 1 })} />
        </div>
      )}
      {text && (
        <div className="field">
          <label htmlFor="container-text">{text === "collection" ? "Items" : "Condition"}</label>
          <RefText id="container-text" block={block.id} lines={2} code value={plain(block.data?.[text])} onChange={(value) => set({ [text]: value })} placeholder={text === "collection" ? '["a", "b"] or <block.output>' : "<loop.index> < 3"} />
        </div>
      )}
    </form>
  );
}

function Connections({ block, spec }: { block: Block; spec: Spec | undefined }) {
  const document = useCanvas((state) => state.document)!;
  const state = stateOf(document);
  const out = state.edges.filter((edge) => edge.source === block.id);
  const into = state.edges.filter((edge) => edge.target === block.id);
  const handles = handlesOf(block, spec);
  const name = (id: string) => state.blocks[id]?.name ?? "a missing block";
  const label = (handle: string | null | undefined) => handles.find((item) => item.id === (handle || "source"))?.label ?? handle ?? "then";
  return (
    <section>
      <h2>Connections</h2>
      <ul className="links">
        {into.map((edge) => <li key={edge.id}><span>from {name(edge.source)}</span><RemoveEdge id={edge.id} label={`from ${name(edge.source)}`} /></li>)}
        {out.map((edge) => <li key={edge.id}><span>{label(edge.sourceHandle)} → {name(edge.target)}</span><RemoveEdge id={edge.id} label={`to ${name(edge.target)}`} /></li>)}
      </ul>
      {handles.map((handle) => {
        const targets = Object.values(state.blocks).filter((other) => mayConnect(state, { source: block.id, target: other.id }) && handle.id.includes("-start-") === (other.data?.parentId === block.id) && state.blocks[other.id]?.id !== block.data?.parentId);
        if (!targets.length) return null;
        return (
          <div className="field is-inline" key={handle.id}>
            <label htmlFor={`connect-${handle.id}`}>{handle.label} → connect to</label>
            <select id={`connect-${handle.id}`} value="" onChange={(event) => edit((all) => withEdge(all, { source: block.id, target: event.target.value, sourceHandle: handle.id, targetHandle: "target" }))}>
              <option value="">…</option>
              {targets.map((other) => <option key={other.id} value={other.id}>{other.name}</option>)}
            </select>
          </div>
        );
      })}
    </section>
  );
}

function RemoveEdge({ id, label }: { id: string; label: string }) {
  return <button type="button" className="quiet" aria-label={`Remove the connection ${label}`} onClick={() => edit((document) => without(document, [], [id]))}>✕</button>;
}

