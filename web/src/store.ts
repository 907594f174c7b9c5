/** What the page knows: the document and its history, the selection, the run that is watched. */

import { create } from "zustand";
import { api, ApiError, useConnection } from "./api";
import { emptyDocument, stateOf } from "./document";
import type { RunView } from "./runState";
import type { Block, Document, Info, Problem, RunLine, Spec } from "./types";

export type Saving = "saved" | "unsaved" | "saving" | "conflict" | "failed";
export type Dialog = "open" | "add" | "keys" | "secrets" | "inputs" | null;

/** Where a new block goes, and the wire that was let go there. */
export interface Spot {
  position: Block["position"];
  parent: string | null;
  wire?: { block: string; handle: string | null; type: "source" | "target" };
}

/** Where a menu is open on the screen, and of what: of the canvas if of nothing else. */
export interface MenuAt {
  x: number;
  y: number;
  block?: string;
  edge?: string;
  spot?: Spot;
}

interface Canvas {
  ready: boolean;
  info: Info | null;
  specs: Record<string, Spec>;
  workflow: string;
  document: Document | null;
  opened: number; // grows with each document that is opened
  etag: string;
  saving: Saving;
  past: Document[];
  future: Document[];
  selected: string[];
  problems: Problem[];
  run: RunView | null;
  runs: RunLine[];
  starting: boolean;
  dismissed: string[]; // runs that somebody else started and nobody wants to see
  dialog: Dialog;
  spot: Spot | undefined;
  menu: MenuAt | null;
  notice: { text: string; kind: "info" | "error" } | null;
}

export const useCanvas = create<Canvas>(() => ({
  ready: false, info: null, specs: {}, workflow: "", document: null, opened: 0, etag: "", saving: "saved",
  past: [], future: [], selected: [], problems: [], run: null, runs: [], starting: false, dismissed: [], dialog: null, spot: undefined, menu: null, notice: null,
}));

const { getState: get, setState: set } = useCanvas;

export const select = (selected: string[]) => set({ selected });
export const show = (dialog: Dialog) => set({ dialog, spot: undefined });
export const openMenu = (menu: MenuAt | null) => set({ menu });

let noticeTimer = 0;
export function notify(text: string, kind: "info" | "error" = "info"): void {
  set({ notice: { text, kind } });
  clearTimeout(noticeTimer);
  if (kind === "info") noticeTimer = window.setTimeout(() => set({ notice: null }), 6000);
}

export function report(error: unknown): void {
  if (error instanceof ApiError && useConnection.getState().state !== "up") return; // the page says so already
  if (!(error instanceof ApiError)) {
    notify(error instanceof Error ? error.message : String(error), "error");
    return;
  }
  const listed = error.problems.length > 1 ? error.problems.join("; ") : error.message;
  notify(`${listed} ${error.hint}`.trim(), "error");
}

export async function boot(): Promise<void> {
  try {
    const [info, blocks] = await Promise.all([api.info(), api.blocks()]);
    set({ info, specs: Object.fromEntries(blocks.map((block) => [block.type, block])), ready: true });
    const wanted = nameInAddress();
    const all = await api.workflows();
    if (wanted && all.includes(wanted)) await open(wanted);
    else set({ dialog: "open" });
    set({ runs: await api.runs() });
  } catch (error) {
    report(error);
  }
}

function nameInAddress(): string {
  try {
    return decodeURIComponent(location.hash.replace(/^#\/?/, ""));
  } catch {
    return ""; // an address that was cut off names nothing
  }
}

export const refreshInfo = async () => set({ info: await api.info() });

// -- the document --------------------------------------------------------------------------------

let lastKey = "";
let lastTime = 0;
const HISTORY = 200;

/** Change the document. Changes of one `key` in quick succession are one step of undo. */
export function edit(change: (document: Document) => Document, key = ""): void {
  const { document, past } = get();
  if (!document) return;
  const next = change(document);
  if (next === document) return;
  const joined = key !== "" && key === lastKey && Date.now() - lastTime < 1500;
  lastKey = key;
  lastTime = Date.now();
  set({ document: next, past: joined ? past : [...past, document].slice(-HISTORY), future: [] });
  touched();
}

export function undo(): void {
  const { document, past, future } = get();
  const before = past.at(-1);
  if (!document || !before) return;
  lastKey = "";
  set({ document: before, past: past.slice(0, -1), future: [document, ...future] });
  touched();
}

export function redo(): void {
  const { document, past, future } = get();
  const after = future[0];
  if (!document || !after) return;
  lastKey = "";
  set({ document: after, past: [...past, document], future: future.slice(1) });
  touched();
}

let saveTimer = 0;
let checkTimer = 0;

function touched(): void {
  if (get().saving !== "conflict") set({ saving: "unsaved" });
  clearTimeout(saveTimer);
  saveTimer = window.setTimeout(() => void save(), 600);
  scheduleCheck();
}

function scheduleCheck(): void {
  clearTimeout(checkTimer);
  checkTimer = window.setTimeout(() => void check(), 400);
}

async function check(): Promise<void> {
  const { workflow, document } = get();
  if (!document) return;
  try {
    const problems = await api.check(workflow, document);
    if (get().document === document) set({ problems });
  } catch {
    // a check that could not be made says nothing about the workflow
  }
}

/** Whether the page has what the file has not. */
export const isUnsaved = () => get().document !== null && get().saving !== "saved";

export async function save(): Promise<void> {
  const { workflow, document, etag, saving } = get();
  if (!document || saving !== "unsaved") return;
  set({ saving: "saving" });
  try {
    const written = await api.write(workflow, document, etag);
    if (get().workflow !== workflow) return;
    const isCurrent = get().document === document;
    set({ etag: written, saving: isCurrent ? "saved" : "unsaved" });
    if (!isCurrent) touched();
  } catch (error) {
    const conflict = error instanceof ApiError && (error.status === 412 || error.status === 404);
    set({ saving: conflict ? "conflict" : "failed" });
    if (!conflict) report(error);
  }
}

/** Settle a conflict: take what is in the file, put ours over it, or keep ours beside it. */
export async function settle(how: "theirs" | "ours" | "copy"): Promise<void> {
  const { workflow, document } = get();
  if (!document) return;
  try {
    if (how === "theirs") await load(workflow);
    else if (how === "copy") await put(`${workflow} (copy)`, document);
    else {
      const { etag } = await api.read(workflow).catch(() => ({ etag: "" }));
      set({ etag: await api.write(workflow, document, etag || null), saving: "saved" });
    }
  } catch (error) {
    report(error);
  }
}

/** Say everywhere what the open workflow is called. */
function name(workflow: string): void {
  set({ workflow });
  history.replaceState(null, "", `#/${encodeURIComponent(workflow)}`);
  window.document.title = `${workflow} · sim-devin`;
}

function adopt(workflow: string, document: Document, etag: string): void {
  clearTimeout(saveTimer);
  lastKey = "";
  name(workflow);
  set({ document, opened: get().opened + 1, etag, saving: "saved", past: [], future: [], selected: [], problems: [], run: null, dialog: null, menu: null, notice: null });
  scheduleCheck();
}

/** Save before another workflow takes this one's place; refuses if that would lose what is not in the file. */
async function leave(): Promise<void> {
  await save();
  const { saving, workflow } = get();
  if (saving === "conflict" || saving === "failed") throw new Error(`${workflow} is not saved. Resolve that first, or reload the page to discard it.`);
}

async function load(workflow: string): Promise<void> {
  const { document, etag } = await api.read(workflow);
  adopt(workflow, document, etag);
}

export async function open(workflow: string): Promise<void> {
  await leave();
  await load(workflow);
}

export async function createWorkflow(wanted: string, content?: Document): Promise<void> {
  await leave();
  await put(wanted, content);
}

async function put(wanted: string, content?: Document): Promise<void> {
  const taken = new Set((await api.workflows()).map((name) => name.toLowerCase()));
  const letters = [...wanted.replace(/[^\p{L}\p{N} _.()[\]-]/gu, " ").replace(/^[^\p{L}\p{N}_]+/u, "")];
  const stem = letters.slice(0, 60).join("").trim() || "Workflow"; // what the server takes, in any script
  let name = stem;
  for (let number = 2; taken.has(name.toLowerCase()); number++) name = `${stem} ${number}`;
  const document = content ?? emptyDocument(name);
  await api.write(name, document, null);
  await load(name);
}

/** The version of a file that a question about it is asked of. */
export async function versionOf(workflow: string): Promise<string> {
  if (get().workflow === workflow) await save();
  return (await api.read(workflow)).etag;
}

export async function renameWorkflow(workflow: string, to: string, etag: string): Promise<void> {
  await api.rename(workflow, to, etag);
  if (get().workflow === workflow) name(to);
}

export async function deleteWorkflow(workflow: string, etag: string): Promise<void> {
  await api.remove(workflow, etag);
  if (get().workflow !== workflow) return;
  clearTimeout(saveTimer);
  set({ workflow: "", document: null, opened: get().opened + 1, etag: "", saving: "saved", past: [], future: [], selected: [], problems: [], run: null });
  history.replaceState(null, "", location.pathname);
  window.document.title = "sim-devin";
}

export async function importFile(file: File): Promise<void> {
  try {
    const content = JSON.parse(await file.text()) as Document | null;
    const { blocks, edges } = typeof content === "object" && content ? stateOf(content) : {};
    if (!content || !blocks || !Array.isArray(edges)) throw new Error(`${file.name} is not a workflow: it has no blocks and edges.`);
    await createWorkflow(file.name.replace(/\.json$/i, ""), content);
    notify(`${file.name} was imported. Nothing runs until you start it.`);
  } catch (error) {
    report(error instanceof SyntaxError ? new Error(`${file.name} is not JSON.`) : error);
  }
}
