/** JSON to be read: collapsible, links that open, nothing interpreted as markup. */

import { useState } from "react";
import type { Json } from "./types";

export function Value({ value }: { value: Json | undefined }) {
  if (typeof value === "string") {
    if (/^https?:\/\/\S+$/.test(value)) return <a href={value} target="_blank" rel="noopener noreferrer">{value}</a>;
    return <span className="json-text">{value || '""'}</span>;
  }
  return <span className="json-plain">{String(value)}</span>;
}

export function JsonTree({ value, name, open = 1 }: { value: Json | undefined; name?: string; open?: number }) {
  const [isOpen, setOpen] = useState(open > 0); // what is closed is not drawn: outputs may be large
  if (value === null || typeof value !== "object")
    return <div className="json-row">{name !== undefined && <span className="json-key">{name}: </span>}<Value value={value} /></div>;
  const pairs = Array.isArray(value) ? value.map((item, index) => [String(index), item] as const) : Object.entries(value);
  const size = Array.isArray(value) ? `${pairs.length} item${pairs.length === 1 ? "" : "s"}` : `${pairs.length} key${pairs.length === 1 ? "" : "s"}`;
  if (!pairs.length) return <div className="json-row">{name !== undefined && <span className="json-key">{name}: </span>}<span className="json-plain">empty</span></div>;
  return (
    <details className="json" open={isOpen} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{name !== undefined && <span className="json-key">{name} </span>}<span className="json-size">{size}</span></summary>
      {isOpen && pairs.map(([key, item]) => <JsonTree key={key} name={key} value={item} open={open - 1} />)}
    </details>
  );
}
