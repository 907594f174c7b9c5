/** The run below the canvas: answers, log, timeline, result and history. */

import { useEffect, useMemo, useState } from "react";
import { ActButton, once } from "./acts";
import { PanelAnswers, PauseForm, usePlace } from "./answers";
import { api } from "./api";
import { JsonTree, Value } from "./JsonTree";
import { asksOf, bare, duration, localTime, noteOf, type RunView, told, verdictText } from "./runState";
import { isActive, resumeRun, resuming, watch } from "./runs";
import { select, useCanvas } from "./store";
import type { Block, Highlights, Json, RunEvent, RunStatus, SessionLine, Summary } from "./types";

const SHOWN = 300; // of many executions
const TABS = ["Log", "Timeline", "Result", "History"] as const;
type Tab = (typeof TABS)[number];

const STATUS_TEXT: Record<string, string> = {
  running: "Running", paused: "Paused", finished: "Finished", failed: "Failed", cancelled: "Cancelled", lost: "Lost",
  held: "Held", uncertain: "Uncertain",
};
const tone = (summary: Summary) => (summary.tone ? `is-${summary.tone}` : "");
const statusText = (status: RunStatus, state: string) => STATUS_TEXT[status === "paused" && state in STATUS_TEXT ? state : status];

/** What resuming does, by the state that a run is in. */
const RESUMING: Record<string, [button: string, what: string]> = {
  failed: ["Resume", "Failed blocks run again; finished blocks keep their results. The run uses the workflow as it was when the run started: to run an edited one, use Run, or Run from here on a block."],
  held: ["Resume", "Something is missing on this server. Once it is available, the run can continue."],
  uncertain: ["Look again", "It is unknown whether a request was carried out. Look again, or report what you found. Looking never repeats it."],
};

export function RunPanel() {
  const run = useCanvas((state) => state.run);
  const runs = useCanvas((state) => state.runs);
  const [tab, setTab] = useState<Tab>("Log");
  const [isOpen, setOpen] = useState(true);
  const place = usePlace();
  useEffect(() => {
    if (run?.status === "finished" || run?.status === "failed") setTab("Result");
    if (run?.status === "cancelled") setOpen(true); // for the sessions that go on
    if (run?.status === "running") setTab((now) => (now === "Timeline" ? now : "Log"));
  }, [run?.status, run?.id]);
  if (!run && !runs.length) return null;
  const choose = (event: React.KeyboardEvent) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? TABS.length - 1 : 0;
    if (step) setTab(TABS[(TABS.indexOf(tab) + step) % TABS.length]!);
  };
  const forms = run && isActive(run.status) ? asksOf(run).filter((execution) => execution.ask?.kind === "form") : [];
  const acus = run ? Object.values(run.acus).reduce((all, item) => all + item, 0) : 0;
  return (
    <section className={`run-panel ${isOpen ? "" : "is-closed"}`} aria-label="Run">
      <div className="run-head">
        <div role="tablist" aria-label="Run" onKeyDown={choose}>
          {TABS.map((item) => (
            <button key={item} type="button" role="tab" id={`tab-${item}`} aria-selected={tab === item} aria-controls="run-body" tabIndex={tab === item ? 0 : -1} ref={(node) => { if (node && tab === item && document.activeElement?.getAttribute("role") === "tab") node.focus(); }} onClick={() => { setTab(item); setOpen(true); }}>{item}</button>
          ))}
        </div>
        <div className="run-state" aria-live="polite">
          {run && <span className={`run-status is-${run.status} ${tone(run.summary)}`} data-testid="run-status">{statusText(run.status, run.state)}</span>}
          {run?.summary.words && <span data-testid="run-summary">{run.summary.words}</span>}
          {run && acus > 0 && <span>{Math.round(acus * 100) / 100} ACU</span>}
        </div>
        <button type="button" className="quiet" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>{isOpen ? "Hide" : "Show"}</button>
      </div>
      {isOpen && (
        <div className="run-body" id="run-body" role="tabpanel" aria-labelledby={`tab-${tab}`} tabIndex={0}>
          {run?.canResume && <Resume run={run} />}
          {run && ["cancelled", "failed", "finished"].includes(run.status) && <SessionsLeft key={run.id} run={run} />}
          {forms.map((execution) => <PauseForm key={execution.key} run={run!.id} execution={execution} where={place(execution)} />)}
          {tab === "Log" && (run ? <Log run={run} /> : <p className="empty">No run is shown. See History.</p>)}
          {tab === "Timeline" && (run ? <Timeline run={run} /> : <p className="empty">No run is shown. See History.</p>)}
          {tab === "Result" && (run ? <Result run={run} /> : <p className="empty">No run is shown. See History.</p>)}
          {tab === "History" && <History />}
        </div>
      )}
    </section>
  );
}

function Resume({ run }: { run: RunView }) {
  const [button, what] = RESUMING[run.state] ?? RESUMING.failed!;
  return (
    <section className="resume" aria-label="Resume the run">
      <ActButton act={resuming(run.id)} busy="Resuming…" className="primary" onClick={() => void resumeRun(run.id)}>{button}</ActButton>
      <p>{run.state === "held" && run.result?.error ? `${run.result.error} ` : ""}{what}</p>
    </section>
  );
}

function lineText(event: RunEvent): string {
  switch (event.event) {
    case "run.started": return "The run started";
    case "run.finished": return "The run finished";
    case "run.failed": return `The run failed: ${event.error ?? ""}`;
    case "run.paused": return "The run is paused";
    case "run.cancelled": return "The run was stopped. Its Devin sessions continue until they are ended.";
    case "block.started": return "started";
    case "block.finished": return event.verdict && event.verdict.tone !== "good" ? `ended in ${duration(event.durationMs ?? 0)}: ${verdictText(event.verdict)}` : `done in ${duration(event.durationMs ?? 0)}`;
    case "block.failed": return `failed: ${event.error ?? ""}${event.errorHandled ? " (handled)" : ""}`;
    case "block.waiting": return `waiting: ${noteOf(event)}`;
    case "block.warning": return `warning: ${noteOf(event)}`;
    case "block.retrying": return `try ${event.attempt} after: ${event.error ?? ""}`;
    default: return event.event;
  }
}

function Log({ run }: { run: RunView }) {
  const lines = run.log.filter((event) => event.event !== "run.result");
  if (!lines.length) return <p className="empty">Starting…</p>;
  return (
    <ol className="log">
      {lines.map((event, index) => (
        <li key={index} className={`is-${event.event.split(".")[1]}`}>
          <time dateTime={event.time}>{event.time && localTime(event.time).slice(11)}</time>
          {event.blockName && (event.block && !event.child ? <button type="button" className="link" onClick={() => select([event.block!])}>{event.blockName}</button> : <span>{event.blockName}</span>)}
          <span>{lineText(event)}</span>
        </li>
      ))}
    </ol>
  );
}

function Timeline({ run }: { run: RunView }) {
  const place = usePlace();
  const spans = Object.values(run.executions)
    .map((execution) => ({ ...execution, start: Date.parse(execution.startedAt), end: execution.endedAt ? Date.parse(execution.endedAt) : null }))
    .sort((one, other) => one.order - other.order);
  if (!spans.length) return <p className="empty">Nothing ran yet.</p>;
  const begin = Math.min(...spans.map((span) => span.start));
  const end = Math.max(...spans.map((span) => span.end ?? span.start), begin + 1);
  const shown = spans.slice(0, SHOWN);
  return (
    <div className="timeline">
      <p className="field-help">{duration(end - begin)} in total{spans.length > shown.length ? `; the first ${shown.length} of ${spans.length} shown` : ""}</p>
      {shown.map((span) => {
        const from = (span.start - begin) / (end - begin);
        const width = Math.max(0.004, ((span.end ?? end) - span.start) / (end - begin));
        return (
          <div className="timeline-row" key={span.key}>
            <button type="button" className="link" title={place(span)} onClick={() => select([span.block])}>{span.name}</button>
            <svg viewBox="0 0 1000 14" preserveAspectRatio="none" aria-hidden="true"><rect className={`bar is-${span.status}`} x={Math.min(from, 0.996) * 1000} y="2" width={Math.min(width, 1 - Math.min(from, 0.996)) * 1000} height="10" rx="2" /></svg>
            <span>{span.end === null ? (span.status === "stopped" ? "stopped" : span.status === "running" ? "running" : "waiting") : duration(span.end - span.start)}</span>
          </div>
        );
      })}
    </div>
  );
}

function Result({ run }: { run: RunView }) {
  const found = useMemo(() => Object.values(run.blocks).map((block) => block.highlights).filter((item): item is Highlights => !!item), [run.blocks]);
  const requests = [...new Map(found.flatMap((item) => item.pullRequests ?? []).map((item) => [item.pr_url, item])).values()];
  if (!run.result) return <p className="empty">There is no result yet.</p>;
  return (
    <div className="result">
      {run.result.error && <p className="field-error">{run.result.error} {run.result.hint}</p>}
      {requests.length > 0 && (
        <div className="pull-requests">
          <h2>Pull requests</h2>
          <ul>{requests.map((item) => <li key={item.pr_url}><Value value={item.pr_url ?? ""} /> <span className="badge">{item.pr_state}</span></li>)}</ul>
        </div>
      )}
      <h2>Output</h2>
      <JsonTree value={run.result.output} open={3} />
    </div>
  );
}

function History() {
  const runs = useCanvas((state) => state.runs);
  const shown = useCanvas((state) => state.run?.id);
  if (!runs.length) return <p className="empty">Nothing ran yet.</p>;
  return (
    <table className="history">
      <thead><tr><th scope="col">Started</th><th scope="col">Workflow</th><th scope="col">How it went</th><th scope="col"><span className="visually-hidden">What to do</span></th></tr></thead>
      <tbody>
        {runs.map((run) => (
          <tr key={run.id} className={run.id === shown ? "is-shown" : ""}>
            <td><time dateTime={run.startedAt}>{localTime(run.startedAt)}</time></td>
            <td>{run.title || "unnamed"}</td>
            <td><span className={`run-status is-${run.status} ${tone(run.summary)}`}>{statusText(run.status, run.state)}</span> {run.summary.words} {run.error}</td>
            <td className="row-actions">
              <button type="button" onClick={() => void watch(run.id)} disabled={run.id === shown}>Show</button>
              {run.canResume && <ActButton act={resuming(run.id)} title={RESUMING[run.state]?.[1]} onClick={() => void resumeRun(run.id)}>{RESUMING[run.state]?.[0]}</ActButton>}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** What a block did in the run, in the side panel. */
export function BlockOutput({ block }: { block: Block }) {
  const run = useCanvas((state) => state.run)!;
  const [chosen, setChosen] = useState("");
  const place = usePlace();
  const all = (run.byBlock[block.id] ?? []).map((key) => run.executions[key]!).filter((execution) => !execution.isChild);
  const card = run.blocks[block.id]!;
  const one = all.find((execution) => execution.key === chosen);
  const mine = one ?? card;
  const [log, setLog] = useState<{ input?: Json; output?: Json } | null>(null);
  useEffect(() => {
    let isCurrent = true;
    setLog(null);
    if (mine.endedAt && mine.order) api.log(run.id, mine.order).then((found) => isCurrent && setLog(found)).catch(() => undefined);
    return () => { isCurrent = false; };
  }, [run.id, mine.order, mine.endedAt]);
  const session = mine.progress?.sessionId ?? mine.highlights?.sessionId ?? "";
  return (
    <section className={`block-run is-${mine.status}`} aria-label="In this run">
      <h2>In this run</h2>
      {all.length > 1 && (
        <div className="field">
          <label htmlFor="execution">Shown of {all.length} executions</label>
          <select id="execution" value={one?.key ?? ""} onChange={(event) => setChosen(event.target.value)}>
            <option value="">All together</option>
            {all.slice(0, SHOWN).map((execution, index) => <option key={execution.key} value={execution.key}>{place(execution) || `Execution ${index + 1}`} – {told(execution).slice(0, 60)}</option>)}
          </select>
        </div>
      )}
      <p className={`status is-${mine.status}`}><span className="dot" aria-hidden="true" /><span className="status-text">{one ? told(one) : told(card, card.count, card.more)}</span></p>
      {mine.hint && <p className="field-help">{mine.hint}</p>}
      {mine.status === "waiting" && mine.progress && mine.progress.nextLookSeconds > 0 && <p className="field-help">Looks again every {duration(mine.progress.nextLookSeconds * 1000)}.</p>}
      {session && /^https?:/.test(run.urls[bare(session)] ?? "") && <p><a href={run.urls[bare(session)]} target="_blank" rel="noopener noreferrer">Open the session</a></p>}
      {mine.highlights?.pullRequests?.map((item) => <p key={item.pr_url}>Pull request: <Value value={item.pr_url ?? ""} /> <span className="badge">{item.pr_state}</span></p>)}
      {mine.highlights?.structuredOutput !== undefined && <><h3>Structured output</h3><JsonTree value={mine.highlights.structuredOutput} open={2} /></>}
      <PanelAnswers block={block.id} />
      {log && <><JsonTree name="Input" value={log.input ?? null} open={0} /><JsonTree name="Output" value={log.output ?? null} open={1} /></>}
    </section>
  );
}

/** The sessions of a run that has ended and that may still work: nothing here ends them but these buttons. */
function SessionsLeft({ run }: { run: RunView }) {
  const [sessions, setSessions] = useState<SessionLine[] | null>(null);
  const [isUnknown, setUnknown] = useState(false);
  const look = async () => setUnknown(!(await once(looking, async () => setSessions(await api.sessions(run.id)))));
  useEffect(() => { void look(); }, [run.id, run.status]);
  // Of a run that came to its end, one that cannot be looked at is no news.
  const left = sessions?.filter((session) => session.goesOn && !(session.error && run.status === "finished")) ?? [];
  const act = `end ${run.id}`;
  const looking = `sessions ${run.id}`;
  const end = async (ids: string[]) => {
    await once(act, async () => {
      let failure: unknown;
      for (const id of ids) {
        try {
          const ended = await api.endSession(run.id, id);
          setSessions((all) => all?.map((session) => (session.sessionId === id ? ended : session)) ?? null);
        } catch (error) {
          failure ??= error; // the others are ended all the same
        }
      }
      if (failure) throw failure;
    });
  };
  const again = <ActButton act={looking} busy="Looking…" onClick={() => void look()}>Look again</ActButton>;
  if (!sessions && isUnknown) return <p className="sessions-left" role="status">It is not known whether sessions of this run are still running in Devin. {again}</p>;
  if (!sessions && run.status === "cancelled") return <p className="field-help" role="status">The run's Devin sessions continue until they are ended. Checking…</p>;
  if (!sessions?.length || (!left.length && run.status === "finished")) return null;
  if (!left.length) return <p className="field-help" role="status">None of this run’s sessions is still running in Devin.</p>;
  const ids = left.flatMap((session) => session.sessionId ?? []);
  return (
    <section className="sessions-left" aria-label="Sessions still running">
      <h2>{left.length === 1 ? "A session is still running in Devin" : `${left.length} sessions are still running in Devin`}</h2>
      <p>The run has ended here; {left.length === 1 ? "its session has not, and" : "its sessions have not, and"} may cost more until ended.</p>
      <div className="actions">
        {ids.length > 1 && <ActButton act={act} busy="Ending…" className="danger" onClick={() => void end(ids)}>End all {ids.length} sessions</ActButton>}
        {again}
      </div>
      <ul>
        {left.map((session) => (
          <li key={session.sessionId ?? session.error}>
            {session.url && /^https?:/.test(session.url) ? <a href={session.url} target="_blank" rel="noopener noreferrer">{session.title || session.sessionId}</a> : <span>{session.title || session.sessionId}</span>}
            <span className={`run-status is-${session.verdict?.tone ?? "attention"}`}>{session.verdict?.words ?? "Not known"}</span>
            {session.error && <span className="field-error">{session.error}</span>}
            {!!session.acusConsumed && <span className="acus">{session.acusConsumed} ACU</span>}
            {session.sessionId && <ActButton act={act} busy="Ending…" aria-label={`End it: ${session.title || session.sessionId}`} onClick={() => void end([session.sessionId!])}>End it</ActButton>}
          </li>
        ))}
      </ul>
    </section>
  );
}
