/** The page: toolbar, palette, canvas, side panel and run panel. */

import { ReactFlowProvider, useReactFlow } from "@xyflow/react";
import { Component, type ReactNode, useEffect, useState } from "react";
import { ActButton, once } from "./acts";
import { clipText, duplicate, leaving, pasteText, remove, turn, useTidy } from "./actions";
import { stateOf } from "./document";
import { Dialogs, inputRows, Notice, useAdd } from "./dialogs";
import { DRAG_TYPE, Flow } from "./Flow";
import { isBuiltIn } from "./form";
import { Menu } from "./Menu";
import { Icon } from "./nodes";
import { Panel, WorkflowProblems } from "./Panel";
import { RunPanel } from "./RunPanel";
import { useConnection } from "./api";
import { isActive, START, startedElsewhere, startRun, stopping, stopRun, watch } from "./runs";
import { importFile, openMenu, redo, report, save, select, settle, show, undo, useCanvas } from "./store";
import type { Document, Spec } from "./types";

export function App() {
  return <ReactFlowProvider><Page /></ReactFlowProvider>;
}

function useTheme(): ["light" | "dark", () => void] {
  const system = () => (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const [theme, setTheme] = useState<"light" | "dark">(() => (localStorage.getItem("sim-devin.theme") as "light" | "dark" | null) ?? system());
  useEffect(() => { document.documentElement.dataset.theme = theme; }, [theme]);
  return [theme, () => { const next = theme === "dark" ? "light" : "dark"; localStorage.setItem("sim-devin.theme", next); setTheme(next); }];
}

function Page() {
  const [theme, turn] = useTheme();
  const document = useCanvas((state) => state.document);
  const hasDialog = useCanvas((state) => state.dialog !== null);
  useKeys();
  useClipboard();
  return (
    <div className="page" onDragOver={(event) => event.preventDefault()} onDrop={(event) => { event.preventDefault(); const file = event.dataTransfer.files[0]; if (file && !(event.target as Element).closest(".react-flow")) void importFile(file); }}>
      <Toolbar theme={theme} turn={turn} />
      <Connection />
      <Conflict />
      <Elsewhere />
      {!hasDialog && <Notice />}
      <Showable of={document}>
        <div className="work">
          <Palette />
          <main>
            {document ? <Flow theme={theme} /> : <div className="blank" />}
            {document && <RunPanel />}
            <Menu />
          </main>
          {document && <Panel />}
        </div>
      </Showable>
      <Dialogs />
    </div>
  );
}

/** Says what is wrong with a document that cannot be drawn, and keeps the toolbar, to open another or undo. */
class Showable extends Component<{ of: Document | null; children: ReactNode }, { failed: Document | null }> {
  override state = { failed: null };

  static getDerivedStateFromError = () => ({ failed: useCanvas.getState().document });

  override render(): ReactNode {
    if (!this.state.failed || this.state.failed !== this.props.of) return this.props.children;
    return (
      <main className="unshown" role="alert">
        <p>This workflow cannot be shown. Its file is unchanged.</p>
        <WorkflowProblems />
      </main>
    );
  }
}

const SAVING = { saved: "Saved", unsaved: "Unsaved", saving: "Saving…", conflict: "Changed elsewhere", failed: "Not saved" };

function Toolbar({ theme, turn }: { theme: string; turn: () => void }) {
  const workflow = useCanvas((state) => state.workflow);
  const saving = useCanvas((state) => state.saving);
  const info = useCanvas((state) => state.info);
  const status = useCanvas((state) => state.run?.status);
  const shown = useCanvas((state) => state.run?.id);
  const canUndo = useCanvas((state) => state.past.length > 0);
  const canRedo = useCanvas((state) => state.future.length > 0);
  const errors = useCanvas((state) => state.problems.filter((item) => item.level === "error").length);
  const tidy = useTidy();
  return (
    <header className="toolbar">
      <button type="button" onClick={() => show("open")} aria-label="Workflows">☰</button>
      <h1>{workflow || "Canvas"}</h1>
      {workflow && <span className={`saving is-${saving}`} data-testid="saving" role="status">{SAVING[saving]}</span>}
      {saving === "failed" && <button type="button" onClick={() => { useCanvas.setState({ saving: "unsaved" }); void save(); }}>Save again</button>}
      {info?.simulated && <span className="badge" title="Everything runs against the built-in simulator">Simulated</span>}
      <span className="spacer" />
      {workflow && (
        <>
          <button type="button" onClick={undo} disabled={!canUndo} aria-label="Undo">↶</button>
          <button type="button" onClick={redo} disabled={!canRedo} aria-label="Redo">↷</button>
          <button type="button" onClick={() => show("add")}>Add</button>
          <button type="button" onClick={tidy}>Tidy up</button>
          <button type="button" onClick={() => show("secrets")}>Secrets</button>
          <button type="button" onClick={exportFile}>Export</button>
        </>
      )}
      <button type="button" onClick={turn} aria-label={theme === "dark" ? "Light colours" : "Dark colours"}>{theme === "dark" ? "☀" : "☾"}</button>
      <button type="button" onClick={() => show("keys")} aria-label="Keys">?</button>
      {workflow && errors > 0 && <button type="button" className="link errors" onClick={() => select([])}>{errors} to fix</button>}
      {workflow && shown && isActive(status) && <ActButton key={shown} act={stopping(shown)} busy="Stopping…" className="danger" title="Stops the run. Its Devin sessions continue until they are ended." onClick={() => void stopRun()}>Stop</ActButton>}
      {workflow && <ActButton act={START} busy="Starting…" className="primary" disabled={isActive(status)} onClick={run}>Run</ActButton>}
    </header>
  );
}

function run(): void {
  const { document: content } = useCanvas.getState();
  if (!content) return;
  if (inputRows(stateOf(content).blocks).length) show("inputs");
  else void startRun();
}

function exportFile(): void {
  const content = leaving();
  if (!content) return;
  const address = URL.createObjectURL(new Blob([JSON.stringify(content, null, 2)], { type: "application/json" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = `${useCanvas.getState().workflow}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

function Conflict() {
  const saving = useCanvas((state) => state.saving);
  if (saving !== "conflict") return null;
  return (
    <div className="notice is-error" role="alert">
      <span>This workflow was changed elsewhere. Your version is not saved.</span>
      <ActButton act="settle" onClick={() => void once("settle", () => settle("theirs"))}>Load theirs</ActButton>
      <ActButton act="settle" onClick={() => void once("settle", () => settle("ours"))}>Keep mine</ActButton>
      <ActButton act="settle" onClick={() => void once("settle", () => settle("copy"))}>Save mine as a copy</ActButton>
    </div>
  );
}

/** Says that the server is away, or is another one, until it is back. */
function Connection() {
  const state = useConnection((connection) => connection.state);
  if (state === "up") return null;
  return (
    <div className="notice is-error" role="alert">
      {state === "down"
        ? <span>The server does not respond. Is sim-devin serve still running? The page reconnects by itself; your changes are kept here.</span>
        : <span>The server does not know this page: it was restarted, or the link was incomplete. Open the new link printed in the terminal in this tab: unsaved changes are kept.</span>}
    </div>
  );
}

/** Says that somebody else runs the open workflow. */
function Elsewhere() {
  const line = useCanvas(startedElsewhere);
  if (!line) return null;
  return (
    <div className="notice" role="status">
      <span>{line.status === "running" ? "A run of this workflow was started elsewhere." : "Another run of this workflow is waiting for a person."}</span>
      <button type="button" onClick={() => void watch(line.id)}>Watch</button>
      <button type="button" className="quiet" aria-label="Dismiss the run" onClick={() => useCanvas.setState((now) => ({ dismissed: [...now.dismissed, line.id] }))}>✕</button>
    </div>
  );
}

const GROUPS: Record<string, string> = { tools: "Tools", triggers: "Start", blocks: "Blocks", containers: "Containers" };

function Palette() {
  const specs = useCanvas((state) => state.specs);
  const hasDocument = useCanvas((state) => state.document !== null);
  const [text, setText] = useState("");
  const add = useAdd();
  const wanted = text.toLowerCase().trim();
  const found = Object.values(specs).filter((spec) => `${spec.title} ${spec.description} ${spec.type} ${spec.owner}`.toLowerCase().includes(wanted));
  const groupOf = (spec: Spec) => (spec.category in GROUPS ? spec.category : "tools");
  const groups = Object.keys(GROUPS).map((category) => [category, found.filter((spec) => groupOf(spec) === category)] as const).filter(([, items]) => items.length > 0);
  return (
    <nav className="palette" aria-label="Blocks">
      <input type="search" aria-label="Search blocks" placeholder="Search blocks" value={text} onChange={(event) => setText(event.target.value)} />
      <div className="palette-list">
        {groups.map(([category, items]) => (
          <section key={category}>
            <h2>{GROUPS[category]}</h2>
            {items.map((spec) => (
              <button key={spec.type} type="button" draggable disabled={!hasDocument} data-block={spec.type} title={spec.description}
                onDragStart={(event) => { event.dataTransfer.setData(DRAG_TYPE, spec.type); event.dataTransfer.effectAllowed = "move"; }}
                onClick={() => add(spec)}>
                <Icon spec={spec} type={spec.type} /><span className="palette-name">{spec.title}</span>
                {!isBuiltIn(spec) && <span className="owner">{spec.owner}</span>}
              </button>
            ))}
          </section>
        ))}
        {!found.length && <p className="empty">No block is called that.</p>}
      </div>
    </nav>
  );
}

const isTyping = (target: EventTarget | null) => target instanceof Element && !!target.closest("input, textarea, select, dialog");

/** Open the menu of what has the focus, or else of the canvas. */
function menuOfFocus(): void {
  const focused = document.activeElement?.closest<HTMLElement>(".react-flow__node, .react-flow__edge");
  const { left, top, width, height } = (focused ?? document.querySelector(".react-flow")!).getBoundingClientRect();
  const id = focused?.dataset.id;
  const kind = focused?.classList.contains("react-flow__edge") ? "edge" : "block";
  openMenu({ x: left + width / 2, y: top + Math.min(height / 2, 60), ...(id ? { [kind]: id } : {}) });
}

/** Put the focus on the first field of the selected block: by Tab it is a long way there. */
function goToSettings(): void {
  const field = document.querySelector(".panel form :is(input, select, textarea, button)") ?? document.querySelector(".panel-head input");
  if (field instanceof HTMLElement) field.focus();
}

function useKeys(): void {
  const flow = useReactFlow();
  const tidy = useTidy();
  useEffect(() => {
    const act = (event: KeyboardEvent): boolean => {
      const { dialog, menu, run: current, selected, document: content } = useCanvas.getState();
      const mod = event.ctrlKey || event.metaKey;
      const key = event.key.toLowerCase();
      if (!content || dialog || menu) return false;
      if (mod && key === "k") return show("add"), true;
      if (mod && key === "enter") {
        // Pressed twice it starts one run, and stops none: stopping takes another key. Where an
        // answer is typed it sends that, and starts nothing.
        const answer = event.target instanceof Element && event.target.closest<HTMLFormElement>(".pause form, form.pause");
        if (event.shiftKey) void stopRun();
        else if (answer) void (!event.repeat && answer.querySelector<HTMLButtonElement>("button[type=submit]")?.click());
        else if (!event.repeat && !isActive(current?.status)) run();
        return true;
      }
      if (mod && key === "s") return void save().catch(report), true;
      if (isTyping(event.target)) return false;
      if (event.key === "ContextMenu" || (event.shiftKey && event.key === "F10")) return menuOfFocus(), true;
      if (mod && key === "z") return event.shiftKey ? redo() : undo(), true;
      if (mod && key === "y") return redo(), true;
      if (mod && key === "d" && selected.length) return duplicate(selected), true;
      if (mod && event.shiftKey && key === "f") return void flow.fitView({ maxZoom: 1, padding: 0.15 }), true;
      if (mod && key === "a") return select(Object.keys(stateOf(content).blocks)), true;
      if (mod || event.altKey) return false;
      if (event.key === "?") return show("keys"), true;
      if (event.shiftKey && key === "l") return tidy(), true;
      if (key === "d" && selected.length) return turn(selected), true;
      if (key === "e" && selected.length === 1) return goToSettings(), true;
      return false;
    };
    // In the capture phase: React Flow takes Enter with Ctrl held as "add to the selection".
    const listen = (event: KeyboardEvent) => {
      if (act(event)) {
        event.preventDefault();
        event.stopPropagation();
      }
    };
    window.addEventListener("keydown", listen, true);
    return () => window.removeEventListener("keydown", listen, true);
  }, [flow, tidy]);
}

function useClipboard(): void {
  useEffect(() => {
    const copy = (event: ClipboardEvent) => {
      const { document: content, selected, dialog } = useCanvas.getState();
      if (!content || dialog || !selected.length || isTyping(event.target) || String(getSelection())) return;
      event.clipboardData?.setData("text/plain", clipText(selected));
      event.preventDefault();
      if (event.type === "cut") remove(selected);
    };
    const paste = (event: ClipboardEvent) => {
      if (isTyping(event.target) || useCanvas.getState().dialog || !useCanvas.getState().document) return;
      pasteText(event.clipboardData?.getData("text/plain") ?? "");
    };
    document.addEventListener("copy", copy);
    document.addEventListener("cut", copy);
    document.addEventListener("paste", paste);
    return () => {
      document.removeEventListener("copy", copy);
      document.removeEventListener("cut", copy);
      document.removeEventListener("paste", paste);
    };
  }, []);
}
