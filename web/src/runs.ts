/** Runs on the page: started, watched, resumed, stopped; and what others do meanwhile. */

import { isUnderWay, once } from "./acts";
import { api, ApiError, useConnection } from "./api";
import { ended, folded, newRun } from "./runState";
import { boot, notify, refreshInfo, report, save, useCanvas } from "./store";
import type { RunEvent, RunLine, RunStatus } from "./types";

const { getState: get, setState: set } = useCanvas;

const USUAL = 4000; // milliseconds between looks at the runs
const WHILE_AWAY = 1500; // the same while the server does not answer

export const isActive = (status: RunStatus | undefined) => status === "running" || status === "paused";

let watching: AbortController | null = null;

function stopWatching(): void {
  watching?.abort();
  watching = null;
}

export async function refreshRuns(): Promise<void> {
  const runs = await api.runs();
  if (JSON.stringify(runs) !== JSON.stringify(get().runs)) set({ runs });
}

/** Show a run, from its first event on, until it ends or pauses. */
export async function watch(id: string): Promise<void> {
  stopWatching();
  const control = new AbortController();
  watching = control;
  if (get().run?.id !== id) set({ run: newRun(id) });
  let batch: [number, RunEvent][] = [];
  let frame = 0;
  const flush = () => {
    frame = 0;
    const { run } = get();
    if (run?.id === id && !control.signal.aborted) set({ run: folded(run, batch) });
    batch = [];
  };
  let failure: unknown = null;
  try {
    await api.follow(id, get().run?.last ?? 0, control.signal, (number, event) => {
      batch.push([number, event]);
      frame ||= window.setTimeout(flush, 30);
    });
  } catch (error) {
    failure = error;
  }
  clearTimeout(frame);
  if (control.signal.aborted) return;
  flush();
  if (failure instanceof ApiError && failure.status === 404) lose(id);
  else if (failure) await new Promise((resolve) => setTimeout(resolve, 500));
  if (control.signal.aborted) return;
  watching = null;
  await keepUp();
}

/** Say that the server does not know the run that is shown. */
function lose(id: string): void {
  const { run } = get();
  if (run?.id === id && isActive(run.status)) set({ run: ended(run, "lost") });
  notify("The server no longer knows this run. With --simulate, runs end with their server.", "error");
}

/** Look at the runs, and watch the one that is shown again if it went on, or if its stream was cut. */
async function keepUp(): Promise<void> {
  await refreshRuns().catch(() => undefined);
  const { run, runs } = get();
  if (!run || watching || useConnection.getState().state !== "up") return;
  const line = runs.find((item) => item.id === run.id);
  const went = line ? line.status !== run.status || line.status === "running" : run.status === "running";
  if (went && run.status !== "lost") void watch(run.id);
}

/** A run of the open workflow that somebody else started, while no other is followed here. */
export function startedElsewhere(state: ReturnType<typeof get>): RunLine | undefined {
  if (!state.workflow || state.starting || isActive(state.run?.status)) return undefined;
  return state.runs.find((line) => line.workflow === state.workflow && isActive(line.status) && line.id !== state.run?.id && !state.dismissed.includes(line.id));
}

export const START = "start";
export const resuming = (id: string) => `resume ${id}`;
export const stopping = (id: string) => `stop ${id}`;

const REPEAT = 700; // milliseconds in which a second start is the same one, asked for twice
let last = { at: -Infinity, asked: "" };

export async function startRun(options: Record<string, unknown> = {}): Promise<void> {
  const { workflow, document, run } = get();
  const asked = JSON.stringify([workflow, options]);
  const isRepeat = asked === last.asked && performance.now() - last.at < REPEAT;
  if (!document || run?.status === "running" || isRepeat) return;
  set({ starting: true, notice: null });
  await once(START, async () => {
    const started = await api.start({ workflow, document, ...options });
    last = { at: performance.now(), asked };
    set({ dialog: null });
    void watch(started.id);
  });
  set({ starting: isUnderWay(START) });
}

export async function resumeRun(id: string): Promise<void> {
  await once(resuming(id), async () => {
    await api.resume(id);
    void watch(id);
  });
}

export async function stopRun(): Promise<void> {
  const { run } = get();
  if (!run || !isActive(run.status)) return;
  await once(stopping(run.id), async () => {
    await api.stop(run.id);
    await keepUp();
  });
}

/** Follow what runs of the workflow that was just opened. */
async function attach(): Promise<void> {
  stopWatching();
  await refreshRuns();
  const active = get().runs.find((run) => run.workflow === get().workflow && isActive(run.status));
  if (active) void watch(active.id);
}

/** Take up everything again after the server was away. */
async function recover(): Promise<void> {
  if (!get().ready) return boot();
  notify("The server is back.");
  await refreshInfo();
  if (get().saving === "failed") set({ saving: "unsaved" });
  await save();
  const { run } = get();
  if (run && isActive(run.status)) void watch(run.id);
}

/** Keep up with what others do, and with a server that goes and comes back. */
export function keepLooking(): void {
  useCanvas.subscribe((now, before) => { if (now.opened !== before.opened) void attach().catch(report); });
  useConnection.subscribe((now, before) => {
    if (now.state === "up" && before.state !== "up") void recover().catch(report);
    if (now.replayed !== before.replayed) notify("This was already done the first time; only the response was lost. To do it again, repeat the action.");
  });
  const look = async () => {
    if (document.visibilityState === "visible" || useConnection.getState().state !== "up") await keepUp();
    setTimeout(() => void look(), useConnection.getState().state === "down" ? WHILE_AWAY : USUAL);
  };
  setTimeout(() => void look(), USUAL);
}
