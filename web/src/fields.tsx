/** The widgets of a form. What a widget does not know is edited as JSON. */

import { useId, useMemo, useRef, useState } from "react";
import { api } from "./api";
import { stateOf, withValue } from "./document";
import { isLiteral, isSecretMark, rowsOf } from "./form";
import { plain } from "./nodes";
import { beingTyped, offers } from "./references";
import { edit, refreshInfo, report, useCanvas } from "./store";
import type { Field, Json } from "./types";

interface TextProps {
  id?: string;
  block: string;
  value: string;
  onChange: (value: string) => void;
  lines?: number;
  code?: boolean;
  placeholder?: string;
  label?: string;
  invalid?: boolean;
  describedBy?: string;
  required?: boolean;
}

/** A text in which references are completed while they are typed. */
export function RefText({ id, block, value, onChange, lines = 1, code, placeholder, label, invalid, describedBy, required }: TextProps) {
  const [caret, setCaret] = useState<number | null>(null);
  const [active, setActive] = useState(0);
  const input = useRef<HTMLTextAreaElement & HTMLInputElement>(null);
  const listId = useId();
  const document = useCanvas((state) => state.document);
  const specs = useCanvas((state) => state.specs);
  const info = useCanvas((state) => state.info);
  const typed = caret === null ? null : beingTyped(value, caret);
  const found = useMemo(() => {
    if (!typed || !document) return [];
    const all = offers(stateOf(document), block, specs, info?.variables.map((item) => item.name) ?? []);
    const wanted = typed.typed.toLowerCase();
    return all.filter((offer) => offer.text.toLowerCase().startsWith(wanted) && offer.text !== typed.typed).slice(0, 60);
  }, [typed?.typed, document, block, specs, info]);
  const isOpen = found.length > 0;
  const take = (text: string) => {
    if (!typed) return;
    onChange(value.slice(0, typed.from) + text + value.slice(caret ?? value.length));
    setCaret(null);
    input.current?.focus();
  };
  const common = {
    id,
    ref: input,
    value,
    placeholder,
    spellCheck: !code,
    "aria-label": label,
    "aria-invalid": invalid || undefined,
    "aria-describedby": describedBy,
    "aria-required": required || undefined,
    // A textarea may not be called a combobox; it says as much by its popup.
    ...(lines > 1 ? { "aria-haspopup": "listbox" as const } : { role: "combobox", "aria-expanded": isOpen }),
    "aria-controls": isOpen ? listId : undefined,
    "aria-autocomplete": "list" as const,
    "aria-activedescendant": isOpen ? `${listId}-${active}` : undefined,
    className: code ? "is-code" : "",
    onChange: (event: React.ChangeEvent<HTMLInputElement & HTMLTextAreaElement>) => {
      onChange(event.target.value);
      setCaret(event.target.selectionStart);
      setActive(0);
    },
    onBlur: () => setTimeout(() => setCaret(null), 120),
    onKeyDown: (event: React.KeyboardEvent) => {
      if (!isOpen) return;
      if (event.key === "ArrowDown") setActive((active + 1) % found.length);
      else if (event.key === "ArrowUp") setActive((active + found.length - 1) % found.length);
      else if (event.key === "Enter" || event.key === "Tab") take(found[active]!.text);
      else if (event.key === "Escape") setCaret(null);
      else return;
      event.preventDefault();
      event.stopPropagation();
    },
  };
  return (
    <div className="ref-text">
      {lines > 1 ? <textarea rows={lines} {...common} /> : <input type="text" autoComplete="off" {...common} />}
      {isOpen && (
        <ul className="offers" role="listbox" id={listId} aria-label="References" ref={(node) => node?.scrollIntoView({ block: "nearest" })}>
          {found.map((offer, index) => (
            <li key={offer.text} id={`${listId}-${index}`} role="option" aria-selected={index === active} onMouseDown={(event) => { event.preventDefault(); take(offer.text); }}>
              <code>{offer.text}</code> <span>{offer.detail}</span>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

/** A secret: a variable's name, or a text that is put away under a name and never comes back. */
function SecretField({ id, value, variable, suggested, onChange, invalid, describedBy }: { id: string; value: Json; variable: string; suggested: string; onChange: (value: Json) => void; invalid: boolean; describedBy?: string }) {
  const info = useCanvas((state) => state.info);
  const [typed, setTyped] = useState<string | null>(null);
  const stored = isSecretMark(value);
  const name = typeof value === "string" ? /^\{\{([^}]+)\}\}$/.exec(value.trim())?.[1] : undefined;
  const reference = typeof value === "string" && !name && !isLiteral(value) ? value : ""; // such as <start.key>
  const known = info?.variables ?? [];
  const names = [...new Set([...known.map((item) => item.name), ...(name ? [name] : []), ...(variable ? [variable] : [])])];
  const [chosen, setChosen] = useState(suggested);
  const wanted = variable ? (name ?? variable) : chosen.trim();
  const keep = async () => {
    try {
      await api.putSecret(wanted, typed ?? "");
      await refreshInfo();
      onChange(`{{${wanted}}}`);
      setTyped(null);
    } catch (error) {
      report(error);
    }
  };
  if (typed !== null)
    return (
      <div className="secret">
        {!variable && <input aria-label="Name of the secret" value={chosen} onChange={(event) => setChosen(event.target.value)} />}
        <input id={id} type="password" autoComplete="off" value={typed} onChange={(event) => setTyped(event.target.value)} aria-describedby={describedBy} autoFocus />
        <button type="button" onClick={() => void keep()} disabled={!typed.trim() || !wanted}>Save as {wanted}</button>
        <button type="button" className="quiet" onClick={() => setTyped(null)}>Cancel</button>
      </div>
    );
  return (
    <div className="secret">
      <select id={id} value={stored ? "$stored" : name ? `{{${name}}}` : reference} onChange={(event) => onChange(event.target.value || null)} aria-invalid={invalid || undefined} aria-describedby={describedBy}>
        <option value="">Not set</option>
        {reference && <option value={reference}>{reference}</option>}
        {stored && <option value="$stored" disabled>Stored in the file (hidden)</option>}
        {names.map((item) => (
          <option key={item} value={`{{${item}}}`}>{`{{${item}}}`}{known.find((other) => other.name === item)?.set ? "" : " – not set yet"}</option>
        ))}
      </select>
      <button type="button" onClick={() => setTyped("")}>Enter a value…</button>
    </div>
  );
}

interface Column {
  key: string;
  title: string;
  options?: string[];
  long?: boolean;
}

const TYPES = ["string", "number", "boolean", "object", "array"];
const ROWS: Record<string, { columns: Column[]; fresh: (block: string) => Record<string, Json>; add: string; text?: boolean }> = {
  "input-format": {
    columns: [{ key: "name", title: "Name" }, { key: "type", title: "Type", options: TYPES }, { key: "value", title: "Default" }],
    fresh: () => ({ id: crypto.randomUUID(), name: "", type: "string", value: "" }), add: "Add a field",
  },
  "response-format": {
    columns: [{ key: "name", title: "Name" }, { key: "type", title: "Type", options: TYPES }, { key: "value", title: "Value", long: true }],
    fresh: () => ({ id: crypto.randomUUID(), name: "", type: "string", value: "" }), add: "Add a field",
  },
  "condition-input": {
    columns: [{ key: "title", title: "When", options: ["if", "else if", "else"] }, { key: "value", title: "Expression", long: true }],
    fresh: (block) => ({ id: `${block}-else-if-${crypto.randomUUID().slice(0, 8)}`, title: "else if", value: "" }), add: "Add a condition", text: true,
  },
  "router-input": {
    columns: [{ key: "title", title: "Route" }, { key: "value", title: "When to use it", long: true }],
    fresh: (block) => ({ id: `${block}-route-${crypto.randomUUID().slice(0, 8)}`, title: "", value: "" }), add: "Add a route", text: true,
  },
  "variables-input": {
    columns: [{ key: "variableName", title: "Variable" }, { key: "type", title: "Type", options: ["string", "number", "boolean", "object", "array", "plain"] }, { key: "value", title: "Value", long: true }],
    fresh: () => ({ id: crypto.randomUUID(), variableName: "", type: "string", value: "", isExisting: false }), add: "Add an assignment",
  },
  "eval-input": {
    columns: [{ key: "name", title: "Metric" }, { key: "description", title: "Description", long: true }],
    fresh: () => ({ id: crypto.randomUUID(), name: "", description: "", range: { min: 0, max: 10 } }), add: "Add a metric",
  },
  "messages-input": {
    columns: [{ key: "role", title: "Role", options: ["system", "user", "assistant"] }, { key: "content", title: "Content", long: true }],
    fresh: () => ({ role: "user", content: "" }), add: "Add a message",
  },
};

function Rows({ block, label, widget, value, onChange }: { block: string; label: string; widget: string; value: Json; onChange: (value: Json) => void }) {
  const about = ROWS[widget]!;
  const rows = rowsOf(value);
  const put = (next: Record<string, Json>[]) => onChange(about.text && typeof value !== "object" ? JSON.stringify(next) : next);
  const change = (index: number, key: string, cell: Json) => put(rows.map((row, at) => (at === index ? { ...row, [key]: cell } : row)));
  const addRow = () => {
    const elseAt = widget === "condition-input" ? rows.findIndex((row) => row.title === "else") : -1;
    put(elseAt < 0 ? [...rows, about.fresh(block)] : [...rows.slice(0, elseAt), about.fresh(block), ...rows.slice(elseAt)]);
  };
  return (
    <div className="rows" role="group" aria-label={label}>
      {rows.map((row, index) => (
        <div className="rows-item" key={String(row.id ?? index)}>
          {about.columns.filter((column) => !(widget === "condition-input" && column.key === "value" && row.title === "else")).map((column) => {
            const name = `${label} ${index + 1}: ${column.title}`;
            if (column.options)
              return (
                <select key={column.key} aria-label={name} value={String(row[column.key] ?? "")} onChange={(event) => change(index, column.key, event.target.value)}>
                  {[...new Set([...column.options, String(row[column.key] ?? "")])].map((option) => <option key={option}>{option}</option>)}
                </select>
              );
            return <RefText key={column.key} block={block} label={name} placeholder={column.title} lines={column.long ? 2 : 1} code={widget === "condition-input"} value={plain(row[column.key])} onChange={(cell) => change(index, column.key, cell)} />;
          })}
          <button type="button" className="quiet" aria-label={`Remove ${label} ${index + 1}`} onClick={() => put(rows.filter((_row, at) => at !== index))}>✕</button>
        </div>
      ))}
      <button type="button" className="quiet" onClick={addRow}>+ {about.add}</button>
    </div>
  );
}

/** Sim's table: rows of cells, `{id, cells: {Key, Value}}`. */
function Table({ block, label, value, onChange }: { block: string; label: string; value: Json; onChange: (value: Json) => void }) {
  const rows = rowsOf(value);
  const cell = (row: Record<string, Json>, key: string) => plain(((row.cells ?? {}) as Record<string, Json>)[key]);
  const change = (index: number, key: string, text: string) =>
    onChange(rows.map((row, at) => (at === index ? { ...row, cells: { ...(row.cells as Record<string, Json>), [key]: text } } : row)));
  return (
    <div className="rows" role="group" aria-label={label}>
      {rows.map((row, index) => (
        <div className="rows-item" key={String(row.id ?? index)}>
          {["Key", "Value"].map((key) => <RefText key={key} block={block} label={`${label} ${index + 1}: ${key}`} placeholder={key} value={cell(row, key)} onChange={(text) => change(index, key, text)} />)}
          <button type="button" className="quiet" aria-label={`Remove ${label} ${index + 1}`} onClick={() => onChange(rows.filter((_row, at) => at !== index))}>✕</button>
        </div>
      ))}
      <button type="button" className="quiet" onClick={() => onChange([...rows, { id: crypto.randomUUID(), cells: { Key: "", Value: "" } }])}>+ Add a row</button>
    </div>
  );
}

/** Anything else, as JSON: taken over whenever it can be read. */
function JsonField({ id, value, onChange }: { id: string; value: Json; onChange: (value: Json) => void }) {
  const [text, setText] = useState<string | null>(null);
  const shown = text ?? (value === null ? "" : JSON.stringify(value, null, 2));
  let broken = false;
  try {
    if (text?.trim()) JSON.parse(text);
  } catch {
    broken = true;
  }
  return (
    <>
      <textarea id={id} rows={5} className="is-code" spellCheck={false} value={shown} aria-invalid={broken || undefined}
        onChange={(event) => {
          setText(event.target.value);
          try {
            onChange(event.target.value.trim() ? (JSON.parse(event.target.value) as Json) : null);
          } catch {
            // kept as text until it is JSON
          }
        }}
        onBlur={() => !broken && setText(null)}
      />
      {broken && <p className="field-error">Not JSON yet; the last version that was is kept.</p>}
    </>
  );
}

export function FieldRow({ block, field, value, required, problem, variable, suggested }: { block: string; field: Field; value: Json; required: boolean; problem: string; variable: string; suggested: string }) {
  const id = `field-${field.id}`;
  const title = field.title || field.id;
  const change = (next: Json) => edit((document) => withValue(document, block, field.id, field.widget, next), `${block}.${field.id}`);
  const described = problem ? `${id}-problem` : field.description ? `${id}-help` : undefined;
  const isGroup = field.widget in ROWS || field.widget === "table";
  const isText = typeof value === "string" || value === null || typeof value === "number";
  let widget;
  if (isSecretMark(value) || (field.secret && field.widget !== "code")) widget = <SecretField id={id} value={value} variable={variable} suggested={suggested} onChange={change} invalid={!!problem} describedBy={described} />;
  else if (field.widget in ROWS) widget = <Rows block={block} label={title} widget={field.widget} value={value} onChange={change} />;
  else if (field.widget === "table") widget = <Table block={block} label={title} value={value} onChange={change} />;
  else if (field.widget === "dropdown" && field.options.length)
    widget = (
      <select id={id} value={plain(value) || plain(field.default)} onChange={(event) => change(event.target.value)} aria-invalid={!!problem || undefined} aria-describedby={described} aria-required={required || undefined}>
        {!value && !field.default && <option value="" />}
        {[...field.options, ...(value && !field.options.some((option) => option.id === plain(value)) ? [{ id: plain(value), label: plain(value) }] : [])].map((option) => <option key={option.id} value={option.id}>{option.label}</option>)}
      </select>
    );
  else if (field.widget === "switch")
    widget = (
      <select id={id} value={plain(value)} onChange={(event) => change(event.target.value === "" ? null : event.target.value === "true")} aria-describedby={described}>
        <option value="">Default</option>
        <option value="true">Yes</option>
        <option value="false">No</option>
      </select>
    );
  else if (!isText) widget = <JsonField id={id} value={value} onChange={change} />;
  else {
    const lines = field.widget === "code" ? 6 : field.widget === "long-input" ? 4 : 1;
    widget = <RefText id={id} block={block} value={plain(value)} onChange={(text) => change(text === "" && field.type !== "string" ? null : text)} lines={lines} code={field.widget === "code"} placeholder={field.placeholder || plain(field.default)} invalid={!!problem} describedBy={described} required={required} />;
  }
  return (
    <div className="field" data-field={field.id}>
      {isGroup ? <span className="label">{title}{required && <span className="required"> required</span>}</span> : <label htmlFor={id}>{title}{required && <span className="required"> required</span>}</label>}
      {widget}
      {problem ? <p className="field-error" id={`${id}-problem`}>{problem}</p> : field.description ? <p className="field-help" id={`${id}-help`}>{field.description}</p> : null}
    </div>
  );
}
