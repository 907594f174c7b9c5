/** A run as the page shows it, folded from its events: by execution, and from those by block. */

import type { Ask, Highlights, Pass, Progress, RunEvent, RunStatus, Summary, Verdict } from "./types";

// attention, trouble: a block that ended, but whose session is not done. stopped: its run ended first.
export type BlockStatus = "running" | "waiting" | "paused" | "done" | "failed" | "handled" | "attention" | "trouble" | "stopped";

interface Told {
  status: BlockStatus;
  startedAt: string;
  endedAt: string | null;
  durationMs: number | null;
  order: number;
  note: string;
  error: string;
  hint: string;
  progress: Progress | null;
  highlights: Highlights | null;
  verdict: Verdict | null;
}

/** One execution of a block: in one pass of the containers around it, or of a block in a child run. */
export interface Execution extends Told {
  key: string;
  block: string;
  name: string;
  passes: Pass[];
  isChild: boolean;
  ends: number; // how often it ended: again after the run was resumed
  ask: Ask | null;
}

/** A block as its card shows it: after those of its executions that need most to be seen. */
export interface BlockRun extends Told {
  count: number; // how often it ended
  more: number; // how many other executions are as the one that is shown
  pass?: number; // of a container: the furthest pass that began
}

export interface RunView {
  id: string;
  status: RunStatus;
  state: string; // the same in the store's words
  summary: Summary;
  canResume: boolean;
  last: number; // number of the last event
  blocks: Record<string, BlockRun>;
  executions: Record<string, Execution>;
  byBlock: Record<string, string[]>; // block -> keys of its executions
  inside: Record<string, string[]>; // container -> keys of the executions in it whose sessions are not done
  log: RunEvent[];
  result: RunEvent["result"] | null;
  acus: Record<string, number>; // session -> ACUs so far
  urls: Record<string, string>; // session -> where to watch it
}

const NOTHING: Summary = { tone: "", words: "" };

export const newRun = (id: string): RunView => ({
  id, status: "running", state: "", summary: NOTHING, canResume: false, last: 0, blocks: {}, executions: {}, byBlock: {}, inside: {}, log: [], result: null, acus: {}, urls: {},
});

const LOG_KEPT = 2000;
export const bare = (session: string) => session.replace(/^devin-/, "");
const isContainer = (event: RunEvent) => event.blockType === "loop" || event.blockType === "parallel";

/** Fold events into a view: one copy a batch, so that a flood of events is cheap. */
export function folded(run: RunView, events: [number, RunEvent][]): RunView {
  let next: RunView = {
    ...run,
    blocks: { ...run.blocks }, executions: { ...run.executions }, byBlock: { ...run.byBlock }, inside: { ...run.inside }, log: [...run.log],
    acus: { ...run.acus }, urls: { ...run.urls },
  };
  const touched = new Set<string>();
  for (const [number, event] of events) {
    // Numbers follow one another, unless another server tells the run from its beginning.
    if (next.last && number > next.last + 1) next = newRun(run.id);
    if (number > next.last) {
      next.last = number;
      take(next, event, touched);
    }
  }
  for (const block of touched) show(next, block);
  if (next.log.length > LOG_KEPT) next.log = next.log.slice(-LOG_KEPT);
  return next;
}

/** The view of a run of which nothing more is heard: nothing in it waits, and nothing can be answered. */
export function ended(run: RunView, status: RunStatus): RunView {
  const next = { ...run, status, canResume: false, blocks: { ...run.blocks }, executions: { ...run.executions } };
  stopWhatIsOpen(next);
  return next;
}

function take(run: RunView, told: RunEvent, touched: Set<string>): void {
  const event = sinceFirstPass(run, told);
  if (event.event === "run.started") Object.assign(run, { status: "running", state: "", summary: NOTHING, canResume: false, result: null });
  if (event.event === "run.result") {
    run.status = event.status ?? "finished";
    run.state = event.state ?? "";
    run.summary = event.summary ?? NOTHING;
    run.canResume = event.canResume ?? false;
    run.result = event.result ?? null;
    if (run.status !== "paused" && run.status !== "running") stopWhatIsOpen(run);
  }
  if (event.event !== "block.going_on" && !sameWait(run, event)) run.log.push(event);
  if (!event.block || !event.execution) return;
  for (const { block, pass } of event.passes ?? []) enter(run, block, pass, event);
  note(run, event, event.block, event.execution);
  for (const container of [...(event.passes ?? []).map((pass) => pass.block), ...(event.child ? [event.block] : [])]) trouble(run, container, event.execution);
  if (isContainer(event)) show(run, event.block);
  else touched.add(event.block);
}

function note(run: RunView, event: RunEvent, block: string, key: string): void {
  const before = run.executions[key];
  if (!before) run.byBlock[block] = [...(run.byBlock[block] ?? []), key];
  const progress = typeof event.progress === "object" ? event.progress : null;
  const highlights = event.highlights ?? null;
  noteSession(run, progress?.sessionId, progress?.url, progress?.acusConsumed);
  noteSession(run, highlights?.sessionId, highlights?.url, highlights?.acusConsumed);
  const hasEnded = event.event === "block.finished" || event.event === "block.failed";
  const status = statusOf(event);
  run.executions[key] = {
    key, block, status,
    name: event.blockName || before?.name || "",
    passes: event.passes ?? [],
    isChild: event.child ?? false,
    ends: (before?.ends ?? 0) + (hasEnded ? 1 : 0),
    startedAt: event.startedAt ?? before?.startedAt ?? event.time ?? "",
    endedAt: event.endedAt ?? null,
    durationMs: event.durationMs ?? null,
    order: event.executionOrder ?? before?.order ?? 0,
    note: noteOf(event),
    error: event.error ?? "",
    hint: event.hint ?? "",
    progress: progress ?? (status === "waiting" ? (before?.progress ?? null) : null),
    highlights: highlights ?? before?.highlights ?? null,
    verdict: event.verdict ?? null,
    ask: event.ask ?? null,
  };
}

/** Keep account of the executions inside a container, or in a child run, whose sessions are not done. */
function trouble(run: RunView, container: string, key: string): void {
  const known = run.inside[container] ?? [];
  const isOne = isTrouble(run.executions[key]);
  if (isOne !== known.includes(key)) run.inside[container] = isOne ? [...known, key] : known.filter((item) => item !== key);
}

const isTrouble = (execution: Execution | undefined) => execution?.status === "attention" || execution?.status === "trouble";

/** From what needs most to be seen to what needs it least. */
const URGENT: BlockStatus[] = ["paused", "waiting", "running", "failed", "trouble", "attention", "handled", "stopped", "done"];

function show(run: RunView, block: string): void {
  const all = (run.byBlock[block] ?? []).map((key) => run.executions[key]!);
  const isOpen = (execution: Execution) => ["paused", "waiting", "running"].includes(execution.status);
  const own = all.filter((execution) => !execution.isChild);
  const among = all.some(isOpen) ? all.filter(isOpen) : own.length ? own : all;
  const rank = (execution: Execution) => (execution.ask?.answerTo ? -1 : URGENT.indexOf(execution.status));
  let chosen = among[0];
  for (const execution of among) if (rank(execution) <= rank(chosen!)) chosen = execution;
  if (!chosen) return;
  const pass = run.blocks[block]?.pass;
  run.blocks[block] = {
    ...chosen,
    count: own.reduce((sum, execution) => sum + execution.ends, 0),
    more: among.filter((execution) => rank(execution) === rank(chosen)).length - 1,
    ...(pass ? { pass } : {}),
    ...(chosen.status === "done" ? notDone(run, block) : {}),
  };
}

/** What a container, or a block with a child run, has to say of the sessions inside it. */
function notDone(run: RunView, block: string): Partial<BlockRun> {
  const found = (run.inside[block] ?? []).map((key) => run.executions[key]!);
  if (!found.length) return {};
  const worst = found.find((execution) => execution.status === "trouble") ?? found[0]!;
  const words = `${found.length} session${found.length === 1 ? "" : "s"} not done`;
  return { status: worst.status, verdict: { ...worst.verdict!, words, reason: worst.verdict!.words, canAnswer: false } };
}

/** Nothing of a run that has ended goes on here. */
function stopWhatIsOpen(run: RunView): void {
  const isOpen = (status: BlockStatus) => status === "paused" || status === "waiting" || status === "running";
  for (const [key, execution] of Object.entries(run.executions)) {
    if (execution.ask || isOpen(execution.status)) run.executions[key] = { ...execution, ask: null, status: isOpen(execution.status) ? "stopped" : execution.status };
  }
  for (const [id, block] of Object.entries(run.blocks)) if (isOpen(block.status)) run.blocks[id] = { ...block, status: "stopped" };
}

/** Of a container the last step alone is timed where the run was set aside meanwhile; it began with its first pass. */
function sinceFirstPass(run: RunView, event: RunEvent): RunEvent {
  const before = event.block && !event.child ? run.blocks[event.block] : undefined;
  if (!before?.pass || !event.endedAt) return event;
  return { ...event, startedAt: before.startedAt, durationMs: Date.parse(event.endedAt) - Date.parse(before.startedAt) };
}

/** A container has no start of its own: it runs while something inside it does. */
function enter(run: RunView, container: string, pass: number, event: RunEvent): void {
  const before = run.blocks[container];
  const isOpen = before?.status === "running";
  const first = isOpen ? before.startedAt : (event.startedAt ?? event.time ?? "");
  const reached = Math.max(pass, isOpen ? (before.pass ?? 0) : 0);
  run.blocks[container] = {
    status: "running", count: before?.count ?? 0, more: 0, startedAt: first, endedAt: null, durationMs: null, order: 0,
    note: `Running, pass ${reached}`, error: "", hint: "", progress: null, highlights: null, verdict: null, pass: reached,
  };
}

/** Everything that a run asks people, or what one block of it asks. */
export function asksOf(run: RunView, block?: string): Execution[] {
  const keys = block === undefined ? Object.keys(run.executions) : (run.byBlock[block] ?? []);
  const asks = keys.map((key) => run.executions[key]!).filter((execution) => execution.ask);
  return asks.sort((one, other) => byPasses(one.passes, other.passes) || one.order - other.order);
}

/** The order of passes, outermost first. */
function byPasses(one: Pass[], other: Pass[]): number {
  for (let at = 0; at < Math.min(one.length, other.length); at++) {
    const difference = one[at]!.pass - other[at]!.pass;
    if (difference) return difference;
  }
  return 0;
}

function sameWait(run: RunView, event: RunEvent): boolean {
  if (event.event !== "block.waiting" || typeof event.progress !== "object" || !event.execution) return false;
  const before = run.executions[event.execution]?.progress;
  return !!before && before.reason === event.progress.reason && before.sessionId === event.progress.sessionId;
}

function noteSession(run: RunView, session?: string, url?: string | null, acus?: number | null): void {
  if (!session) return;
  if (url) run.urls[bare(session)] = url;
  if (typeof acus === "number") run.acus[bare(session)] = acus;
}

function statusOf(event: RunEvent): BlockStatus {
  if (event.event === "block.finished") return event.verdict?.tone === "bad" ? "trouble" : event.verdict?.tone === "attention" ? "attention" : "done";
  if (event.event === "block.failed") return event.errorHandled ? "handled" : "failed";
  if (event.event === "block.waiting") return event.ask?.kind === "form" || event.reason === "time" ? "paused" : "waiting";
  return "running";
}

/** Say why a block waits or is tried again. */
export function noteOf(event: RunEvent): string {
  if (event.event === "block.waiting") {
    if (typeof event.progress === "object") return event.progress.reason;
    if (event.reason === "human") return "for a person to answer";
    if (event.reason === "approval") return "for your approval";
    if (event.reason === "time") return "until a set time";
    return String(event.progress ?? event.reason ?? "");
  }
  if (event.event === "block.retrying") return `try ${event.attempt}: ${event.error ?? ""}`;
  if (event.event === "block.warning") return event.warning ?? "";
  return event.error ?? "";
}

/** A moment as this machine's clock shows it: 2026-11-24 17:05:09. */
export const localTime = (moment: string) => new Date(moment).toLocaleString("sv");

export function duration(milliseconds: number): string {
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.round(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Say what a verdict of a session is. */
export const verdictText = (verdict: Verdict) => (verdict.reason && verdict.reason !== verdict.words ? `${verdict.words}: ${verdict.reason}` : verdict.words);

/** Say the state of a block, or of one execution of it, in words. */
export function told(block: Told, count = 0, more = 0): string {
  const times = count > 1 ? ` · ${count} times` : "";
  const others = more > 0 ? ` · and ${more} more` : "";
  const took = block.durationMs !== null ? ` in ${duration(block.durationMs)}` : "";
  switch (block.status) {
    case "done": return `Done${took}${times}`;
    case "failed": return `Failed: ${block.error}${others}`;
    case "handled": return `Failed (handled): ${block.error}${others}`;
    case "attention":
    case "trouble": return `${block.verdict ? verdictText(block.verdict) : "Not done"}${others}`;
    case "waiting": return `Waiting: ${block.note}${others}`;
    case "paused": return `Paused ${block.note}${others}`;
    case "stopped": return "Stopped with the run";
    default: return block.note || (count ? `Running, pass ${count + 1}` : "Running");
  }
}
