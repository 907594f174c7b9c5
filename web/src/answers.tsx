/** Answering: a form, a question of a session, or a session that waits for its user. */

import { useEffect, useId, useState } from "react";
import { ActButton, once } from "./acts";
import { api } from "./api";
import { stateOf } from "./document";
import { JsonTree } from "./JsonTree";
import { asksOf, type Execution } from "./runState";
import { isActive, watch } from "./runs";
import { useCanvas } from "./store";
import type { Ask, Choice, FormatRow, Json } from "./types";

// React Flow leaves the pointer, the wheel and the keys alone in what has these classes.
const ON_CARD = "on-card nodrag nopan nowheel nokey";

/** Returns a function that says in words which execution of its block one is: "branch 2", "pass 3 · branch 1". */
export function usePlace(): (execution: Execution) => string {
  const blocks = useCanvas((state) => (state.document ? stateOf(state.document).blocks : null));
  return ({ passes, isChild, name }) => {
    const around = passes.map(({ block, pass }) => `${blocks?.[block]?.type === "parallel" ? "branch" : "pass"} ${pass}`);
    return [...around, ...(isChild && name ? [name] : [])].join(" · ");
  };
}

/** One question is one form: the next one of the same place is another. */
const formKey = ({ key, ask }: Execution) => `${key} ${ask?.answerTo} ${ask?.question}`;

/** What a block asks for, on its card: one of several at a time, and gone as soon as nothing is asked. */
export function CardAnswer({ id, name }: { id: string; name: string }) {
  const run = useCanvas((state) => state.run);
  const [chosen, setChosen] = useState("");
  const selectId = useId();
  const place = usePlace();
  const asks = run && isActive(run.status) ? asksOf(run, id) : [];
  const shown = asks.find((execution) => execution.key === chosen) ?? asks[0];
  const key = shown?.key ?? "";
  useEffect(() => setChosen(key), [key]); // another one that comes in takes no form away that is being filled in
  if (!run || !shown) return null;
  return (
    <>
      {asks.length > 1 && (
        <div className={`asks ${ON_CARD}`}>
          <label htmlFor={selectId}>{asks.length} wait for an answer</label>
          <select id={selectId} value={shown.key} onChange={(event) => setChosen(event.target.value)}>
            {asks.map((execution, index) => <option key={execution.key} value={execution.key}>{place(execution) || `Question ${index + 1}`}</option>)}
          </select>
        </div>
      )}
      <Answer key={formKey(shown)} run={run.id} execution={shown} cardOf={name} />
    </>
  );
}

/** All that a block asks for, in the side panel. */
export function PanelAnswers({ block }: { block: string }) {
  const run = useCanvas((state) => state.run);
  const place = usePlace();
  if (!run) return null;
  const asks = asksOf(run, block).filter((execution) => execution.ask?.kind === "session");
  // A block whose session waits though the run has not: a message lets the session go on.
  const late = run.status === "cancelled" || run.status === "lost" ? [] : (run.byBlock[block] ?? []).map((key) => run.executions[key]!).filter((execution) => !execution.ask && execution.verdict?.canAnswer && execution.highlights?.sessionId);
  const all = [...asks, ...late];
  return (
    <>
      {all.length > 1 && <p className="field-help">{all.length} sessions wait for an answer.</p>}
      {all.map((execution) => <Answer key={formKey(execution)} run={run.id} execution={execution} where={all.length > 1 ? place(execution) : ""} />)}
    </>
  );
}

function Answer({ run, execution, cardOf, where }: { run: string; execution: Execution; cardOf?: string; where?: string }) {
  const { ask, verdict, highlights } = execution;
  if (ask?.kind === "form") return <PauseForm run={run} execution={execution} cardSays={cardOf && execution.note} />;
  return <Reply run={run} execution={execution} ask={ask ?? { kind: "session", session: highlights?.sessionId, reason: verdict?.reason }} cardOf={cardOf} where={where} />;
}

/** What a run asks: what it shows, and a form to fill in or answers to choose from. */
export function PauseForm({ run, execution, cardSays, where }: { run: string; execution: Execution; cardSays?: string; where?: string }) {
  const { answerTo, point } = execution.ask!;
  const onCard = cardSays !== undefined;
  const data = point?.response?.data ?? {};
  const [isSent, setSent] = useState(false);
  if (!point || !answerTo) return null;
  const act = `answer ${run} ${answerTo}`;
  const send = async (answer: Record<string, Json>) => {
    setSent(await once(act, () => api.answer(run, answerTo, answer)));
    void watch(run); // also where somebody else was first: the run has gone on
  };
  const choices: Choice[] = point.choices ?? [{ label: "Answer and continue", answer: {}, fields: data.inputFormat ?? [] }];
  const title = where ? `${point.blockName}, ${where},` : point.blockName;
  return (
    <section className={`pause ${onCard ? ON_CARD : ""}`} aria-label={`${onCard ? "Reply to" : "Answer"} ${point.blockName}${where ? `, ${where}` : ""}`}>
      {!onCard && <h2>{title} is waiting for your answer</h2>}
      {point.message && point.message !== cardSays && <p>{point.message} {!onCard && <span className="field-help">{point.hint}</span>}</p>}
      {data.responseStructure?.map((row) => <JsonTree key={row.name} name={row.name} value={row.value ?? null} />)}
      {choices.map((choice) => <ChoiceForm key={choice.label} choice={choice} act={act} isMain={choices.length === 1} isSent={isSent} send={send} />)}
    </section>
  );
}

function ChoiceForm({ choice, act, isMain, isSent, send }: { choice: Choice; act: string; isMain: boolean; isSent: boolean; send: (answer: Record<string, Json>) => Promise<void> }) {
  const formId = useId();
  const fields: FormatRow[] = choice.fields ?? [];
  const [values, setValues] = useState<Record<string, string>>(() => Object.fromEntries(fields.map((field) => [field.name, field.value == null ? "" : String(field.value)])));
  const submit = (event: React.FormEvent) => {
    event.preventDefault();
    const given: Record<string, Json> = {};
    for (const field of fields) {
      const text = values[field.name] ?? "";
      given[field.name] = field.type === "boolean" ? text === "true" : field.type === "number" && text !== "" ? Number(text) : text;
    }
    void send({ ...choice.answer, ...given });
  };
  return (
    <form className="choice" onSubmit={submit}>
      {fields.map((field) => {
        const id = `${formId}-${field.name}`;
        const value = values[field.name] ?? "";
        const put = (text: string) => setValues({ ...values, [field.name]: text });
        return (
          <div className="field" key={field.name}>
            <label htmlFor={id}>{field.label || field.name}</label>
            {field.type === "boolean" ? (
              <select id={id} value={value || "false"} onChange={(event) => put(event.target.value)}><option value="true">Yes</option><option value="false">No</option></select>
            ) : (
              <input id={id} type={field.type === "number" ? "number" : "text"} value={value} onChange={(event) => put(event.target.value)} required={field.required} />
            )}
            {field.description && <p className="field-help">{field.description}</p>}
          </div>
        );
      })}
      <ActButton act={act} type="submit" className={isMain ? "primary" : ""} disabled={isSent}>{choice.label}</ActButton>
      {choice.help && <span className="field-help">{choice.help}</span>}
    </form>
  );
}

/** Answer a session that waits for somebody: what it said, and a message to it. */
function Reply({ run, execution, ask, cardOf, where }: { run: string; execution: Execution; ask: Ask; cardOf?: string; where?: string }) {
  const textId = useId();
  const [said, setSaid] = useState<{ source?: string; message?: string }[] | null>(null);
  const [text, setText] = useState("");
  const [sent, setSent] = useState("");
  const { block } = execution;
  const session = ask.session ?? "";
  const { answerTo, question } = ask;
  const needsMessages = !ask.text || (!cardOf && !where);
  useEffect(() => {
    if (needsMessages) api.messages(run, block, session).then(setSaid).catch(() => undefined);
  }, [run, block, session, sent, needsMessages]);
  const act = `say ${session}`;
  const send = async (event: React.FormEvent) => {
    event.preventDefault();
    const seen = said?.filter((item) => item.source === "user").length;
    const isDone = await once(act, () => (answerTo ? api.answer(run, answerTo, text, question) : api.say(run, block, session, text, seen)));
    void watch(run); // also where somebody else was first: the run has gone on
    if (!isDone) return;
    setSent(text);
    setText("");
  };
  const isTaken = !!answerTo && !!sent; // and the form goes once that is heard
  const shown = needsMessages ? said?.slice(cardOf ? -1 : -4) : [{ source: "devin", message: ask.text }];
  const name = cardOf ? `Reply to ${cardOf}` : `Answer the session${where ? `, ${where}` : ""}`;
  return (
    <form className={`pause ${cardOf ? ON_CARD : ""}`} onSubmit={(event) => void send(event)} aria-label={name}>
      {!cardOf && <h3>{where ? `${where[0]!.toUpperCase()}${where.slice(1)}: ` : "The session waits: "}{ask.reason}</h3>}
      <ul className="messages">{shown?.map((item, index) => <li key={index}><strong>{item.source}</strong> {item.message}</li>)}</ul>
      <label htmlFor={textId}>Your answer</label>
      <textarea id={textId} rows={2} value={text} onChange={(event) => setText(event.target.value)} disabled={isTaken} required />
      <ActButton act={act} busy="Sending…" type="submit" className="primary" disabled={!text.trim()}>Send</ActButton>
      {sent && <p role="status">Sent: {sent}</p>}
    </form>
  );
}
