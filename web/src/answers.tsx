/** Answering: a pause by its form, a session that waits for its user by a message. */

import { useEffect, useId, useState } from "react";
import { ActButton, once } from "./acts";
import { api } from "./api";
import { JsonTree } from "./JsonTree";
import { type BlockRun, pauseOf } from "./runState";
import { watch } from "./runs";
import { useCanvas } from "./store";
import type { Choice, FormatRow, Json, PausePoint } from "./types";

// React Flow leaves the pointer, the wheel and the keys alone in what has these classes.
const ON_CARD = "on-card nodrag nopan nowheel nokey";

/** The session that waits for its user in this block, and what for. */
export function askedBy(block: BlockRun): { session: string; reason: string } | null {
  const session = block.progress?.sessionId ?? block.highlights?.sessionId ?? "";
  const outcome = block.progress?.outcome ?? block.highlights?.outcome ?? "";
  if (!session || !(outcome.startsWith("blocked_on") || outcome === "asleep")) return null;
  return { session, reason: block.progress?.reason ?? outcome.replaceAll("_", " ") };
}

/** What a block asks for, on its card: gone as soon as the run goes on. */
export function CardAnswer({ id, name }: { id: string; name: string }) {
  const run = useCanvas((state) => state.run?.id);
  const block = useCanvas((state) => state.run?.blocks[id]);
  const point = useCanvas((state) => (state.run?.pauses.length ? pauseOf(state.run, id) : undefined));
  if (!run || !block) return null;
  if (point) return <PauseForm key={point.contextId} run={run} point={point} cardSays={block.note} />;
  const asks = block.status === "waiting" ? askedBy(block) : null;
  return asks && <Reply run={run} block={id} {...asks} cardOf={name} />;
}

/** What a run asks: what it shows, and a form to fill in or answers to choose from. */
export function PauseForm({ run, point, cardSays }: { run: string; point: PausePoint; cardSays?: string }) {
  const onCard = cardSays !== undefined;
  const data = point.response?.data ?? {};
  const [isSent, setSent] = useState(false);
  const act = `answer ${run} ${point.contextId}`;
  const send = async (answer: Record<string, Json>) => {
    setSent(await once(act, () => api.answer(run, point.contextId, answer)));
    void watch(run); // also where somebody else was first: the run has gone on
  };
  const choices: Choice[] = point.choices ?? [{ label: "Answer and go on", answer: {}, fields: data.inputFormat ?? [] }];
  return (
    <section className={`pause ${onCard ? ON_CARD : ""}`} aria-label={`${onCard ? "Reply to" : "Answer"} ${point.blockName}`}>
      {!onCard && <h2>{point.blockName} waits for your answer</h2>}
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
export function Reply({ run, block, session, reason, cardOf }: { run: string; block: string; session: string; reason: string; cardOf?: string }) {
  const textId = useId();
  const [said, setSaid] = useState<{ source?: string; message?: string }[] | null>(null);
  const [text, setText] = useState("");
  const [sent, setSent] = useState("");
  const act = `say ${session}`;
  useEffect(() => {
    api.messages(run, block, session).then(setSaid).catch(() => undefined);
  }, [run, block, session, sent]);
  const send = async (event: React.FormEvent) => {
    event.preventDefault();
    const seen = said?.filter((item) => item.source === "user").length;
    if (!(await once(act, () => api.say(run, block, session, text, seen)))) return;
    setSent(text);
    setText("");
  };
  return (
    <form className={`pause ${cardOf ? ON_CARD : ""}`} onSubmit={(event) => void send(event)} aria-label={cardOf ? `Reply to ${cardOf}` : "Answer the session"}>
      {!cardOf && <h3>The session waits: {reason}</h3>}
      <ul className="messages">{said?.slice(cardOf ? -1 : -4).map((item, index) => <li key={index}><strong>{item.source}</strong> {item.message}</li>)}</ul>
      <label htmlFor={textId}>Your answer</label>
      <textarea id={textId} rows={2} value={text} onChange={(event) => setText(event.target.value)} required />
      <ActButton act={act} busy="Sending…" type="submit" className="primary" disabled={!text.trim()}>Send</ActButton>
      {sent && <p role="status">Sent: {sent}</p>}
    </form>
  );
}

