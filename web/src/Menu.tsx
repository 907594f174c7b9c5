/** The menu of a block, a connection or the canvas: by right click, Shift F10 or the menu key. */

import { useReactFlow } from "@xyflow/react";
import { useEffect, useRef } from "react";
import { canRunFrom, clipText, duplicate, isOff, pasteText, remove, turn, useTidy } from "./actions";
import { stateOf } from "./document";
import { startRun } from "./runs";
import { type MenuAt, notify, openMenu, select, show, useCanvas } from "./store";

type Item = [label: string, act: () => void, keys?: string];

const copy = (ids: string[]) => void navigator.clipboard.writeText(clipText(ids)).catch(() => notify("The browser does not allow this. Press Ctrl C.", "error"));
const paste = () => void navigator.clipboard.readText().then(pasteText).catch(() => notify("The browser does not allow this. Press Ctrl V.", "error"));

function rename(id: string): void {
  select([id]);
  setTimeout(() => window.document.querySelector<HTMLInputElement>(".panel-head input")?.select(), 50);
}

function useItems(menu: MenuAt): [title: string, items: Item[]] {
  const document = useCanvas((state) => state.document)!;
  const selected = useCanvas((state) => state.selected);
  const run = useCanvas((state) => state.run);
  const flow = useReactFlow();
  const tidy = useTidy();
  const { blocks, edges } = stateOf(document);
  const edge = menu.edge && edges.find((item) => item.id === menu.edge);
  if (edge) {
    const name = `from ${blocks[edge.source]?.name} to ${blocks[edge.target]?.name}`;
    return [`Connection ${name}`, [["Delete the connection", () => remove([], [edge.id]), "Delete"]]];
  }
  if (menu.block) {
    const id = menu.block;
    const ids = selected.includes(id) ? selected : [id];
    const single: Item[] = [];
    if (ids.length === 1) {
      if (canRunFrom(id)) single.push(["Run from here", () => void startRun({ fromBlock: id, earlier: run!.id })]);
      single.push(["Rename", () => rename(id)]);
    }
    const all: Item[] = [
      ["Duplicate", () => duplicate(ids), "Ctrl D"], ["Copy", () => copy(ids), "Ctrl C"],
      [isOff(document, ids) ? "Enable" : "Disable", () => turn(ids), "D"], ["Delete", () => remove(ids), "Delete"],
    ];
    return [ids.length === 1 ? (blocks[id]?.name ?? "Block") : `${ids.length} blocks`, [...single, ...all]];
  }
  return ["Canvas", [
    ["Add a block here", () => useCanvas.setState({ spot: menu.spot, dialog: "add" }), "Ctrl K"], ["Paste", paste, "Ctrl V"],
    ["Select all", () => select(Object.keys(blocks)), "Ctrl A"], ["Tidy up", tidy, "Shift L"],
    ["Show everything", () => void flow.fitView({ maxZoom: 1, padding: 0.15 }), "Ctrl Shift F"], ["Keys", () => show("keys"), "?"],
  ]];
}

export function Menu() {
  const menu = useCanvas((state) => state.menu);
  const hasDocument = useCanvas((state) => state.document !== null);
  return menu && hasDocument ? <OpenMenu key={`${menu.x} ${menu.y}`} menu={menu} /> : null;
}

function OpenMenu({ menu }: { menu: MenuAt }) {
  const [title, items] = useItems(menu);
  const frame = useRef<HTMLDivElement>(null);
  const before = useRef(window.document.activeElement);
  useEffect(() => {
    const element = frame.current!;
    const { width, height } = element.getBoundingClientRect();
    element.style.left = `${Math.max(4, Math.min(menu.x, innerWidth - width - 4))}px`;
    element.style.top = `${Math.max(4, Math.min(menu.y, innerHeight - height - 4))}px`;
    element.querySelector<HTMLElement>("button")?.focus();
    const away = (event: Event) => { if (!element.contains(event.target as Node)) openMenu(null); };
    window.addEventListener("pointerdown", away, true);
    window.addEventListener("wheel", away, true);
    return () => {
      window.removeEventListener("pointerdown", away, true);
      window.removeEventListener("wheel", away, true);
    };
  }, [menu]);
  const close = () => {
    openMenu(null);
    if (before.current instanceof HTMLElement || before.current instanceof SVGElement) before.current.focus();
  };
  const onKeyDown = (event: React.KeyboardEvent) => {
    event.stopPropagation(); // the canvas's keys are not meant here
    const buttons = [...frame.current!.querySelectorAll("button")];
    const at = buttons.indexOf(window.document.activeElement as HTMLButtonElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
    if (to !== undefined) buttons.at(to % buttons.length)?.focus();
    else if (event.key === "Escape" || event.key === "Tab") close();
    else return;
    event.preventDefault();
  };
  return (
    <div ref={frame} className="menu" role="menu" aria-label={title} onKeyDown={onKeyDown} onContextMenu={(event) => event.preventDefault()}>
      {items.map(([label, act, keys]) => (
        <button key={label} type="button" role="menuitem" tabIndex={-1} onClick={() => { close(); act(); }}>
          <span>{label}</span>{keys && <kbd aria-hidden="true">{keys}</kbd>}
        </button>
      ))}
    </div>
  );
}
