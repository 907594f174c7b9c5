/** A run as the page shows it, folded from its events. */

import type { Highlights, PausePoint, Progress, RunEvent, RunStatus } from "./types";

export type BlockStatus = "running" | "waiting" | "done" | "failed" | "handled" | "paused";

export interface BlockRun {
  status: BlockStatus;
  count: number; // how often it ended
  startedAt: string;
  endedAt: string | null;
  durationMs: number | null;
  order: number;
  note: string;
  error: string;
  hint: string;
  progress: Progress | null;
  highlights: Highlights | null;
  seen: number; // when the last event came, by this machine's clock
  pass?: number; // of a container: the furthest pass that began
}

export interface Span {
  key: string;
  block: string;
  name: string;
  start: number;
  end: number | null;
  status: BlockStatus;
  order: number;
}

export interface RunView {
  id: string;
  status: RunStatus;
  state: string; // the same in the store's words
  canResume: boolean;
  last: number; // number of the last event
  blocks: Record<string, BlockRun>;
  spans: Record<string, Span>;
  log: RunEvent[];
  result: RunEvent["result"] | null;
  pauses: PausePoint[];
  acus: Record<string, number>; // session -> ACUs so far
  urls: Record<string, string>; // session -> where to watch it
}

export const newRun = (id: string): RunView => ({
  id, status: "running", state: "", canResume: false, last: 0, blocks: {}, spans: {}, log: [], result: null, pauses: [], acus: {}, urls: {},
});

const LOG_KEPT = 2000;
export const bare = (session: string) => session.replace(/^devin-/, "");

/** Fold events into a view: one copy a batch, so that a flood of events is cheap. */
export function folded(run: RunView, events: [number, RunEvent][]): RunView {
  let next: RunView = {
    ...run,
    blocks: { ...run.blocks }, spans: { ...run.spans }, log: [...run.log],
    acus: { ...run.acus }, urls: { ...run.urls },
  };
  for (const [number, event] of events) {
    // Numbers follow one another, unless another server tells the run from its beginning.
    if (next.last && number > next.last + 1) next = newRun(run.id);
    if (number > next.last) {
      next.last = number;
      take(next, event);
    }
  }
  if (next.log.length > LOG_KEPT) next.log = next.log.slice(-LOG_KEPT);
  return next;
}

function take(run: RunView, told: RunEvent): void {
  const event = sinceFirstPass(run, told);
  if (event.event === "run.started") Object.assign(run, { status: "running", state: "", canResume: false, result: null, pauses: [] });
  if (event.event === "run.result") {
    run.status = event.status ?? "finished";
    run.state = event.state ?? "";
    run.canResume = event.canResume ?? false;
    run.result = event.result ?? null;
    run.pauses = run.status === "paused" ? (event.result?.pausePoints ?? []) : [];
  }
  if (!(event.event === "block.waiting" && sameWait(run, event))) run.log.push(event);
  if (!event.block || event.child) return;
  for (const { block, pass } of event.passes ?? []) enter(run, block, pass, event);
  const before = run.blocks[event.block];
  const progress = typeof event.progress === "object" ? event.progress : null;
  const highlights = event.highlights ?? null;
  noteSession(run, progress?.sessionId, progress?.url, progress?.acusConsumed);
  noteSession(run, highlights?.sessionId, highlights?.url, highlights?.acusConsumed);
  const ended = event.event === "block.finished" || event.event === "block.failed";
  const status = statusOf(event);
  run.blocks[event.block] = {
    status,
    count: (before?.count ?? 0) + (ended ? 1 : 0),
    startedAt: event.startedAt ?? before?.startedAt ?? "",
    endedAt: event.endedAt ?? null,
    durationMs: event.durationMs ?? null,
    order: event.executionOrder ?? 0,
    note: noteOf(event),
    error: event.error ?? "",
    hint: event.hint ?? "",
    progress: progress ?? (status === "waiting" ? (before?.progress ?? null) : null),
    highlights: highlights ?? before?.highlights ?? null,
    seen: Date.now(),
  };
  const key = `${event.blockId}#${event.executionOrder}`;
  run.spans[key] = {
    key, block: event.block, name: event.blockName ?? "", status, order: event.executionOrder ?? 0,
    start: Date.parse(event.startedAt ?? event.time ?? ""),
    end: event.endedAt ? Date.parse(event.endedAt) : null,
  };
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
    status: "running", count: before?.count ?? 0, startedAt: first, endedAt: null, durationMs: null, order: 0,
    note: `Running, pass ${reached}`, error: "", hint: "", progress: null, highlights: null, seen: Date.now(), pass: reached,
  };
}

/** The answer a block waits for, in any branch of a parallel: those have ids of their own. */
export function pauseOf(run: RunView, block: string): PausePoint | undefined {
  const spans = Object.values(run.spans).filter((span) => span.block === block);
  return run.pauses.find((point) => point.pauseKind === "human" && spans.some((span) => span.key.startsWith(`${point.blockId}#`)));
}

function sameWait(run: RunView, event: RunEvent): boolean {
  const progress = typeof event.progress === "object" ? event.progress : null;
  const before = event.block ? run.blocks[event.block]?.progress : null;
  return !!progress && !!before && before.reason === progress.reason && before.sessionId === progress.sessionId;
}

function noteSession(run: RunView, session?: string, url?: string | null, acus?: number | null): void {
  if (!session) return;
  if (url) run.urls[bare(session)] = url;
  if (typeof acus === "number") run.acus[bare(session)] = acus;
}

function statusOf(event: RunEvent): BlockStatus {
  if (event.event === "block.finished") return "done";
  if (event.event === "block.failed") return event.errorHandled ? "handled" : "failed";
  if (event.event === "block.waiting") return ["human", "approval", "time"].includes(event.reason ?? "") ? "paused" : "waiting";
  return "running";
}

/** Say why a block waits or is tried again. */
export function noteOf(event: RunEvent): string {
  if (event.event === "block.waiting") {
    if (typeof event.progress === "object") return event.progress.reason;
    if (event.reason === "human") return "for a person to answer";
    if (event.reason === "approval") return "for your yes";
    if (event.reason === "time") return "for a moment to come";
    return String(event.progress ?? event.reason ?? "");
  }
  if (event.event === "block.retrying") return `try ${event.attempt}: ${event.error ?? ""}`;
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

/** Say a block's state in words. */
export function told(block: BlockRun): string {
  const times = block.count > 1 ? ` · ${block.count} times` : "";
  const took = block.durationMs !== null ? ` in ${duration(block.durationMs)}` : "";
  switch (block.status) {
    case "done": return `Done${took}${times}`;
    case "failed": return `Failed: ${block.error}`;
    case "handled": return `Failed (handled): ${block.error}`;
    case "waiting": return `Waiting: ${block.note}`;
    case "paused": return `Paused ${block.note}`;
    default: return block.note || (block.count ? `Running, pass ${block.count + 1}` : "Running");
  }
}
