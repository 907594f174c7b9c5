/** Acts: one at a time each, and on buttons that say so until the server has answered. */

import { type ButtonHTMLAttributes, useEffect, useRef } from "react";
import { create } from "zustand";
import { report } from "./store";

const useActs = create<{ underWay: string[] }>(() => ({ underWay: [] }));

export const isUnderWay = (act: string) => useActs.getState().underWay.includes(act);
export const useUnderWay = (act: string) => useActs((state) => state.underWay.includes(act));

/** Do something unless it is being done already; says what went wrong, and returns whether all went well. */
export async function once(act: string, work: () => Promise<unknown>): Promise<boolean> {
  if (isUnderWay(act)) return false;
  useActs.setState((state) => ({ underWay: [...state.underWay, act] }));
  try {
    await work();
    return true;
  } catch (error) {
    report(error);
    return false;
  } finally {
    useActs.setState((state) => ({ underWay: state.underWay.filter((item) => item !== act) }));
  }
}

interface ActButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  act: string; // what it does, as `once` knows it
  busy?: string; // what it says meanwhile
}

/** A button that does something once: it is off while that is under way, and takes a double click for one. */
export function ActButton({ act, busy, children, disabled, onClick, ...rest }: ActButtonProps) {
  const isBusy = useUnderWay(act);
  const button = useRef<HTMLButtonElement>(null);
  const hadFocus = useRef(false);
  useEffect(() => {
    // A button that is off loses the focus: it gets it back unless it went somewhere else.
    if (!isBusy && hadFocus.current && document.activeElement === document.body) button.current?.focus();
    hadFocus.current = false;
  }, [isBusy]);
  const click = (event: React.MouseEvent<HTMLButtonElement>) => {
    if (event.detail > 1) return event.preventDefault();
    hadFocus.current = document.activeElement === event.currentTarget;
    onClick?.(event);
  };
  return (
    <button ref={button} type="button" {...rest} onClick={click} disabled={disabled || isBusy} aria-busy={isBusy || undefined}>
      {isBusy && <span className="spinner" aria-hidden="true" />}{isBusy && busy ? busy : children}
    </button>
  );
}
