/** Dialogs: opening a workflow, adding a block by name, inputs of a run, secrets, shortcuts. */

import { useReactFlow } from "@xyflow/react";
import { useEffect, useMemo, useRef, useState } from "react";
import { ActButton, once } from "./acts";
import { api } from "./api";
import { handlesOf, newBlock, stateOf, withEdge, withNewBlock } from "./document";
import { rowsOf } from "./form";
import { Icon, plain } from "./nodes";
import { START, startRun } from "./runs";
import { createWorkflow, deleteWorkflow, edit, importFile, open, refreshInfo, renameWorkflow, report, select, show, type Spot, useCanvas, versionOf } from "./store";
import type { Block, Document, Json, Spec } from "./types";

export function Dialogs() {
  const dialog = useCanvas((state) => state.dialog);
  if (dialog === "open") return <Open />;
  if (dialog === "add") return <QuickAdd />;
  if (dialog === "inputs") return <Inputs />;
  if (dialog === "secrets") return <Secrets />;
  if (dialog === "keys") return <Keys />;
  return null;
}

export function Notice() {
  const notice = useCanvas((state) => state.notice);
  if (!notice) return null;
  return (
    <div className={`notice is-${notice.kind}`} role={notice.kind === "error" ? "alert" : "status"}>
      <span>{notice.text}</span>
      <button type="button" className="quiet" aria-label="Dismiss" onClick={() => useCanvas.setState({ notice: null })}>✕</button>
    </div>
  );
}

function Frame({ title, children, closable = true }: { title: string; children: React.ReactNode; closable?: boolean }) {
  const frame = useRef<HTMLDialogElement>(null);
  const isOpening = useRef(true); // until the second half of a double click that opened it is over
  useEffect(() => {
    const timer = setTimeout(() => { isOpening.current = false; }, 500);
    const before = document.activeElement;
    frame.current?.showModal(); // it puts the focus on the first control, which is the close button
    frame.current?.querySelector<HTMLElement>("[data-autofocus]")?.focus();
    return () => {
      clearTimeout(timer);
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  // Closed with the key itself: the browser's own close event comes later, after a key that follows at once.
  const onKeyDown = (event: React.KeyboardEvent) => {
    if (event.key !== "Escape" || !closable || event.defaultPrevented) return;
    event.preventDefault();
    show(null);
  };
  return (
    <dialog ref={frame} aria-label={title} onKeyDown={onKeyDown} onCancel={(event) => { if (!closable) event.preventDefault(); }} onClose={() => show(null)} onClick={(event) => closable && event.target === frame.current && !isOpening.current && show(null)}>
      <header><h1>{title}</h1>{closable && <button type="button" className="quiet" aria-label="Close" onClick={() => show(null)}>✕</button>}</header>
      <Notice />
      {children}
    </dialog>
  );
}

function Open() {
  const info = useCanvas((state) => state.info);
  const hasDocument = useCanvas((state) => state.document !== null);
  const [names, setNames] = useState<string[]>([]);
  const [templates, setTemplates] = useState<{ name: string; title: string; description: string }[]>([]);
  const [wanted, setWanted] = useState("");
  const refresh = () => api.workflows().then(setNames).catch(report);
  useEffect(() => {
    void refresh();
    api.templates().then(setTemplates).catch(report);
  }, []);
  const attempt = (work: () => Promise<void>) => void once("open", work);
  return (
    <Frame title="Workflows" closable={hasDocument}>
      <form className="line" onSubmit={(event) => { event.preventDefault(); attempt(() => createWorkflow(wanted || "Workflow")); }}>
        <label htmlFor="new-name">New workflow</label>
        <input id="new-name" data-autofocus value={wanted} placeholder="Name" onChange={(event) => setWanted(event.target.value)} />
        <ActButton act="open" busy="Creating…" type="submit" className="primary">Create</ActButton>
      </form>
      {names.length > 0 && (
        <section>
          <h2>In {info?.folder || "this folder"}</h2>
          <ul className="choices">{names.map((name) => <FileRow key={name} name={name} changed={refresh} />)}</ul>
        </section>
      )}
      {templates.length > 0 && (
        <section>
          <h2>Start from an example</h2>
          <ul className="choices">
            {templates.map((item) => (
              <li key={item.name}>
                <ActButton act="open" onClick={() => attempt(async () => createWorkflow(item.title, await api.template(item.name)))}>
                  <strong>{item.title}</strong>{item.description && <span>{item.description}</span>}
                </ActButton>
              </li>
            ))}
          </ul>
        </section>
      )}
      <section>
        <h2>Import</h2>
        <label className="file">Choose a workflow exported from Sim, or drop one anywhere<input type="file" accept=".json,application/json" onChange={(event) => event.target.files?.[0] && void importFile(event.target.files[0])} /></label>
      </section>
    </Frame>
  );
}

/** A workflow's file: opened, renamed, or deleted after one more question. */
function FileRow({ name, changed }: { name: string; changed: () => void }) {
  const [asked, setAsked] = useState<{ what: "rename" | "delete"; etag: string } | null>(null);
  const [to, setTo] = useState(name);
  const file = `file ${name}`;
  const ask = (what: "rename" | "delete") => void versionOf(name).then((etag) => setAsked({ what, etag })).catch(report);
  const act = (event: React.FormEvent) => {
    event.preventDefault();
    const { what, etag } = asked!;
    const work = () => (what === "delete" ? deleteWorkflow(name, etag) : renameWorkflow(name, to.trim(), etag));
    void once(file, work).then((isDone) => { setAsked(null); if (isDone) changed(); });
  };
  const onKeyDown = (event: React.KeyboardEvent) => {
    if (event.key !== "Escape") return;
    event.preventDefault(); // the dialog stays open
    setAsked(null);
  };
  if (!asked)
    return (
      <li className="file-row">
        <ActButton act="open" onClick={() => void once("open", () => open(name))}>{name}</ActButton>
        <button type="button" className="quiet" aria-label={`Rename ${name}`} onClick={() => ask("rename")}>Rename</button>
        <button type="button" className="quiet" aria-label={`Delete ${name}`} onClick={() => ask("delete")}>Delete</button>
      </li>
    );
  return (
    <li>
      <form className="file-row" onSubmit={act} onKeyDown={onKeyDown} aria-label={`${asked.what === "delete" ? "Delete" : "Rename"} ${name}`}>
        {asked.what === "delete" ? <span className="question">Delete {name} for good?</span> : <input aria-label={`New name of ${name}`} value={to} autoFocus required onFocus={(event) => event.target.select()} onChange={(event) => setTo(event.target.value)} />}
        <ActButton act={file} busy={asked.what === "delete" ? "Deleting…" : "Renaming…"} type="submit" className={asked.what === "delete" ? "danger" : "primary"} disabled={asked.what === "rename" && (!to.trim() || to.trim() === name)}>{asked.what === "delete" ? "Delete the file" : "Rename"}</ActButton>
        <button type="button" autoFocus={asked.what === "delete"} onClick={() => setAsked(null)}>Cancel</button>
      </form>
    </li>
  );
}

/** Put a block at a spot, or beside the selected one, connected, or in the middle of what is in view. */
export function useAdd(): (spec: Spec, spot?: Spot) => void {
  const flow = useReactFlow();
  return (spec, spot) => {
    const { document: content, selected } = useCanvas.getState();
    if (!content) return;
    const state = stateOf(content);
    if (spot) {
      const block = newBlock(state, spec, spot.position, spot.parent);
      edit((all) => wired(withNewBlock(all, block), block, spec, spot.wire));
      select([block.id]);
      return;
    }
    const beside = selected.length === 1 ? state.blocks[selected[0]!] : undefined;
    const parent = typeof beside?.data?.parentId === "string" ? beside.data.parentId : null;
    const pane = window.document.querySelector(".react-flow__pane")?.getBoundingClientRect();
    let position = pane ? flow.screenToFlowPosition({ x: pane.left + pane.width / 2 - 110, y: pane.top + pane.height / 2 - 50 }) : { x: 100, y: 100 };
    if (beside) position = { x: beside.position.x + 320, y: beside.position.y };
    const inTheWay = (at: { x: number; y: number }) => Object.values(state.blocks).some((other) => Math.abs(other.position.x - at.x) < 60 && Math.abs(other.position.y - at.y) < 60);
    while (inTheWay(position)) position = { x: position.x, y: position.y + 140 };
    const block = newBlock(state, spec, position, parent);
    edit((all) => {
      const added = withNewBlock(all, block);
      const free = beside && !["note", "condition", "router_v2", "response", "loop", "parallel"].includes(beside.type) && spec.category !== "triggers";
      return free ? withEdge(added, { source: beside.id, target: block.id, sourceHandle: "source", targetHandle: "target" }) : added;
    });
    select([block.id]);
  };
}

/** Connect a new block to the wire that was let go where it stands. */
function wired(document: Document, block: Block, spec: Spec, wire: Spot["wire"]): Document {
  if (!wire) return document;
  if (wire.type === "source") return spec.category === "triggers" ? document : withEdge(document, { source: wire.block, sourceHandle: wire.handle, target: block.id, targetHandle: "target" });
  const handle = handlesOf(block, spec).find((item) => !item.id.includes("-start-"));
  return handle ? withEdge(document, { source: block.id, sourceHandle: handle.id, target: wire.block, targetHandle: "target" }) : document;
}

function QuickAdd() {
  const spot = useCanvas((state) => state.spot);
  const specs = useCanvas((state) => state.specs);
  const add = useAdd();
  const [text, setText] = useState("");
  const [active, setActive] = useState(0);
  const found = useMemo(() => {
    const wanted = text.toLowerCase().trim();
    const all = Object.values(specs).flatMap((spec) => {
      const field = spec.fields.find((item) => item.id === spec.operationField);
      return [{ spec, operation: "", label: spec.title }, ...(field?.options ?? []).map((option) => ({ spec, operation: option.id, label: `${spec.title}: ${option.label}` }))];
    });
    return all.filter((item) => `${item.label} ${item.spec.type}`.toLowerCase().includes(wanted)).slice(0, 30);
  }, [text, specs]);
  const take = (index: number) => {
    const item = found[index];
    if (!item) return;
    const field = item.spec.operationField;
    const spec = item.operation && field ? { ...item.spec, fields: item.spec.fields.map((other) => (other.id === field ? { ...other, default: item.operation } : other)) } : item.spec;
    show(null);
    add(spec, spot);
  };
  return (
    <Frame title="Add a block">
      <input
        className="search" role="combobox" aria-expanded="true" aria-controls="add-list" aria-activedescendant={found.length ? `add-${active}` : undefined} aria-label="Search for a block" placeholder="Search for a block or an operation" data-autofocus value={text}
        onChange={(event) => { setText(event.target.value); setActive(0); }}
        onKeyDown={(event) => {
          if (event.key === "ArrowDown") setActive(Math.min(active + 1, found.length - 1));
          else if (event.key === "ArrowUp") setActive(Math.max(active - 1, 0));
          else if (event.key === "Enter") take(active);
          else return;
          event.preventDefault();
        }}
      />
      <ul className="choices" role="listbox" id="add-list" aria-label="Blocks">
        {found.map((item, index) => (
          <li key={item.label + item.spec.type} id={`add-${index}`} role="option" aria-selected={index === active} onClick={() => take(index)} ref={(node) => { if (index === active) node?.scrollIntoView({ block: "nearest" }); }}>
            <Icon spec={item.spec} type={item.spec.type} /><strong>{item.label}</strong><span>{item.operation ? "" : item.spec.description}</span>
          </li>
        ))}
      </ul>
      {!found.length && <p className="empty">No block is called that.</p>}
    </Frame>
  );
}

export function inputRows(blocks: Record<string, Block>): Record<string, Json>[] {
  const start = ["start_trigger", "api_trigger", "input_trigger", "manual_trigger", "starter"].map((type) => Object.values(blocks).find((block) => block.type === type && block.enabled !== false)).find(Boolean);
  return rowsOf(start?.subBlocks?.inputFormat?.value).filter((row) => row.name);
}

type Limit = "maxAcu" | "maxSessions";
const LIMITS: { id: Limit; label: string; isWhole: boolean }[] = [
  { id: "maxAcu", label: "Maximum ACUs for all sessions of this run", isWhole: false },
  { id: "maxSessions", label: "Maximum number of sessions of this run", isWhole: true },
];

/** What is wrong with a limit as it was typed: no wrong one is taken for none. */
function limitProblem(text: string, isWhole: boolean): string {
  const typed = text.trim();
  if (typed === "" || (/^\d+(\.\d+)?$/.test(typed) && Number(typed) >= 1 && Number(typed) < 1e9 && (!isWhole || Number.isInteger(Number(typed))))) return "";
  return `Type a ${isWhole ? "whole number" : "number"} of at least 1, or leave it empty for no limit.`;
}

function Inputs() {
  const content = useCanvas((state) => state.document)!;
  const rows = inputRows(stateOf(content).blocks);
  const [values, setValues] = useState<Record<string, string>>(() => Object.fromEntries(rows.map((row) => [String(row.name), plain(row.value)])));
  const [limits, setLimits] = useState<Record<Limit, string>>({ maxAcu: "", maxSessions: "" });
  const [asked, setAsked] = useState(false); // what is wrong is told once it was asked to start
  const simulated = useCanvas((state) => state.info?.simulated);
  const start = (event: React.FormEvent) => {
    event.preventDefault();
    setAsked(true);
    const wrong = LIMITS.find(({ id, isWhole }) => limitProblem(limits[id], isWhole));
    if (wrong) document.getElementById(wrong.id)?.focus();
    else void startRun({ inputs: values, ...Object.fromEntries(LIMITS.map(({ id }) => [id, limits[id].trim() === "" ? null : Number(limits[id])])) });
  };
  return (
    <Frame title="Run">
      <form onSubmit={start} noValidate>
        {rows.map((row, index) => (
          <div className="field" key={String(row.name)}>
            <label htmlFor={`input-${index}`}>{String(row.name)}</label>
            {plain(row.value).length > 50 ? <textarea id={`input-${index}`} rows={3} value={values[String(row.name)]} onChange={(event) => setValues({ ...values, [String(row.name)]: event.target.value })} /> : <input id={`input-${index}`} value={values[String(row.name)]} onChange={(event) => setValues({ ...values, [String(row.name)]: event.target.value })} />}
          </div>
        ))}
        {LIMITS.map(({ id, label, isWhole }) => {
          const problem = asked ? limitProblem(limits[id], isWhole) : "";
          return (
            <div className="field" key={id}>
              <label htmlFor={id}>{label}</label>
              <input id={id} inputMode={isWhole ? "numeric" : "decimal"} autoComplete="off" value={limits[id]} placeholder="no limit" aria-invalid={!!problem || undefined} aria-describedby={problem ? `${id}-problem` : undefined} onChange={(event) => setLimits({ ...limits, [id]: event.target.value })} />
              {problem && <p className="field-error" id={`${id}-problem`} role="alert">{problem}</p>}
            </div>
          );
        })}
        <p className="field-help">{simulated ? "Runs against the built-in simulator: no account, nothing is billed." : "Runs against the real service; sessions may be billed."}</p>
        <div className="actions"><ActButton act={START} busy="Starting…" type="submit" className="primary" data-autofocus>Start the run</ActButton><button type="button" onClick={() => show(null)}>Cancel</button></div>
      </form>
    </Frame>
  );
}

function Secrets() {
  const info = useCanvas((state) => state.info);
  const [name, setName] = useState("");
  const [value, setValue] = useState("");
  const save = async (event: React.FormEvent) => {
    event.preventDefault();
    await once("secret", async () => {
      await api.putSecret(name, value);
      await refreshInfo();
      setName("");
      setValue("");
    });
  };
  const drop = (id: string) => once(`forget ${id}`, async () => {
    await api.deleteSecret(id);
    await refreshInfo();
  });
  return (
    <Frame title="Secrets">
      <p className="field-help">A secret is stored on this machine, in a file only you can read, and used as {"{{NAME}}"}. Its value is never sent back to this page.</p>
      <ul className="links">
        {info?.variables.map((item) => (
          <li key={item.name}><span><code>{item.name}</code> {item.stored ? "stored here" : item.set ? "from the environment" : "not set"}</span>{item.stored && <ActButton act={`forget ${item.name}`} className="quiet" aria-label={`Forget ${item.name}`} onClick={() => void drop(item.name)}>✕</ActButton>}</li>
        ))}
      </ul>
      <form onSubmit={(event) => void save(event)}>
        <div className="field"><label htmlFor="secret-name">Name</label><input id="secret-name" value={name} pattern="[A-Za-z_][A-Za-z0-9_]*" required placeholder="DEVIN_API_KEY" onChange={(event) => setName(event.target.value)} /></div>
        <div className="field"><label htmlFor="secret-value">Value</label><input id="secret-value" type="password" autoComplete="off" value={value} required onChange={(event) => setValue(event.target.value)} /></div>
        <ActButton act="secret" busy="Saving…" type="submit" className="primary">Save</ActButton>
      </form>
    </Frame>
  );
}

export const SHORTCUTS: [string, string][] = [
  ["Ctrl K", "Add a block by name"], ["Ctrl Enter", "Run"], ["Ctrl Shift Enter", "Stop the run"], ["Ctrl Z", "Undo"], ["Ctrl Shift Z", "Redo"],
  ["Ctrl C / X / V", "Copy, cut, paste"], ["Ctrl D", "Duplicate"], ["Delete", "Delete what is selected"], ["D", "Disable or enable the block"], ["E", "Go to the settings of the block"],
  ["Shift L", "Tidy up"], ["Ctrl Shift F", "Show everything"], ["Tab, Enter", "Go to a block and select it"], ["Arrows", "Move the selected block"], ["Shift F10", "Menu of the block, connection or canvas"], ["Escape", "Select nothing"], ["?", "This list"],
];

function Keys() {
  return (
    <Frame title="Keys">
      <table className="keys"><tbody>{SHORTCUTS.map(([keys, what]) => <tr key={keys}><th scope="row"><kbd>{keys}</kbd></th><td>{what}</td></tr>)}</tbody></table>
      <p className="field-help">On a Mac, Cmd stands for Ctrl. Blocks are connected by keyboard with the lists under Connections in the side panel.</p>
    </Frame>
  );
}
