// What several pages are made of.

import type { ComponentChildren, TargetedMouseEvent, TargetedSubmitEvent } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import type { Action } from "./async";
import type { Problem } from "./api";
import { ago, clock, moment, short, words } from "./format";
import { arrows } from "./keys";
import { useTitle } from "./router";

const PATHS = {
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14Zm5 12 4 4",
  copy: "M9 9h10v11H9zM15 9V4H5v11h4",
  tick: "M5 12.5l4.5 4.5L19 7.5",
  cross: "M7 7l10 10M17 7L7 17",
  open: "M9 6l6 6-6 6",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM12 2v2m0 16v2M2 12h2m16 0h2M5 5l1.4 1.4m11.2 11.2L19 19M5 19l1.4-1.4M17.6 6.4 19 5",
  moon: "M19 14.5A8 8 0 0 1 9.5 5a7.5 7.5 0 1 0 9.5 9.5Z",
  screen: "M4 5h16v11H4zM9 20h6m-3-4v4",
  menu: "M4 7h16M4 12h16M4 17h16",
  out: "M10 5H5v14h5M14 8l4 4-4 4m4-4H9",
  again: "M19 12a7 7 0 1 1-2-5m2-3v4h-4",
};

export function Icon({ name }: { name: keyof typeof PATHS }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

interface PageProps {
  title: string;
  /** Stands beside the heading. */
  aside?: ComponentChildren;
  /** The pages above this one. */
  crumbs?: ComponentChildren;
  children?: ComponentChildren;
}

export function Page({ title, aside, crumbs, children }: PageProps) {
  useTitle(title);
  return (
    <>
      <div class="head">
        <div class="head-text">
          {crumbs && (
            <nav class="crumbs" aria-label="Breadcrumb">
              {crumbs}
            </nav>
          )}
          <h1 tabIndex={-1}>{title}</h1>
        </div>
        <div class="head-aside">{aside}</div>
      </div>
      {children}
    </>
  );
}

/** A refusal in the server's words, and the way to try again. */
export function Refused({ problem, again }: { problem: Problem; again?: () => void }) {
  return (
    <div class="notice bad" role="alert">
      <p>{problem.message}</p>
      {problem.violations.length > 0 && (
        <ul class="violations">
          {problem.violations.map(({ field, description }) => (
            <li key={field}>
              <code>{field}</code> {description}
            </li>
          ))}
        </ul>
      )}
      <p class="fine">
        {problem.status > 0 ? (
          <a href={`/errors/${problem.reason}`}>
            <code>{problem.reason}</code>
          </a>
        ) : (
          <code>{problem.reason}</code>
        )}
        {again && (
          <button type="button" class="text" onClick={again}>
            Try again
          </button>
        )}
      </p>
    </div>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <div class="empty">{children}</div>;
}

/** Lines that stand where an answer will. */
export function Waiting({ lines = 6, what }: { lines?: number; what: string }) {
  return (
    <div class="waiting" role="status" aria-label={`Loading ${what}`}>
      {Array.from({ length: lines }, (_, index) => (
        <i class="bone" key={index} />
      ))}
    </div>
  );
}

/** What is shown of something that is loaded: its bones, a refusal, or the thing itself and that it is out of date. */
export function Shown<T>(props: {
  of: { value?: T; problem?: Problem; again: () => void };
  what: string;
  children: (value: T) => ComponentChildren;
}) {
  const { value, problem, again } = props.of;
  return (
    <>
      {problem && <Refused problem={problem} again={again} />}
      {value !== undefined ? props.children(value) : !problem && <Waiting what={props.what} />}
    </>
  );
}

const TONES: Record<string, string> = {
  ok: "good", ready: "good", completed: "good", done: "good", running: "now", compensating: "now", starting: "now",
  refused: "warn", degraded: "warn", cancelled: "warn", compensated: "warn", undone: "warn", draining: "warn", warn: "warn",
  failed: "bad", parked: "bad", stopped: "bad", error: "bad", crashed: "bad", down: "bad",
};

export function toneOf(state: string): string {
  return TONES[state.toLowerCase().replace(/^.*_state_/, "")] ?? "quiet";
}

export function Badge({ state, label }: { state: string; label?: string }) {
  return <span class={`badge ${toneOf(state)}`}>{label ?? words(state)}</span>;
}

const COPIED_MS = 1_200;

/** An id that can be copied; both ends of a long one are shown. */
export function Id({ id, whole }: { id: string; whole?: boolean }) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), COPIED_MS);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = () => void navigator.clipboard.writeText(id).then(() => setCopied(true), () => {});
  return (
    <span class="id">
      <code title={id}>{whole ? id : short(id)}</code>
      <button type="button" class="icon-button small" onClick={copy} aria-label={copied ? "Copied" : `Copy ${id}`} title="Copy">
        <Icon name={copied ? "tick" : "copy"} />
      </button>
    </span>
  );
}

const SECOND_MS = 1_000;
const ticking = new Set<(now: number) => void>();
let ticker = 0;

/** Returns the time, and draws the component again each second. */
export function useNow(): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    ticking.add(setNow);
    if (!ticker) ticker = window.setInterval(() => ticking.forEach((set) => set(Date.now())), SECOND_MS);
    return () => {
      ticking.delete(setNow);
      if (ticking.size > 0) return;
      clearInterval(ticker);
      ticker = 0;
    };
  }, []);
  return now;
}

/** A moment: how long ago, with the moment itself for who points at it. */
export function Time({ ms, exact }: { ms: number | undefined; exact?: boolean }) {
  const now = useNow();
  if (!ms) return <span class="fine">–</span>;
  return (
    <time dateTime={new Date(ms).toISOString()} title={moment(ms)}>
      {exact ? clock(ms) : ago(ms, now)}
    </time>
  );
}

interface TableProps {
  label: string;
  heads: (string | { text: string; end?: boolean; class?: string })[];
  children: ComponentChildren;
  class?: string;
}

/** A table whose rows are walked with the arrow keys. */
export function Table({ label, heads, children, class: extra = "" }: TableProps) {
  return (
    <div class={`table ${extra}`} role="region" aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {heads.map((head) => {
              const { text, end, class: own = "" } = typeof head === "string" ? { text: head } : head;
              return (
                <th scope="col" class={`${end ? "end" : ""} ${own}`} key={text}>
                  {own === "sr-only" ? <span class="sr">{text}</span> : text}
                </th>
              );
            })}
          </tr>
        </thead>
        <tbody onKeyDown={arrows}>{children}</tbody>
      </table>
    </div>
  );
}

interface DialogProps {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  wide?: boolean;
}

/** Something that wants an answer before anything else. */
export function Dialog({ title, onClose, children, wide }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const before = document.activeElement;
    dialog.current?.showModal();
    return () => (before instanceof HTMLElement ? before.focus() : undefined);
  }, []);
  const press = (event: TargetedMouseEvent<HTMLDialogElement>) => {
    if (event.target === dialog.current) onClose();
  };
  return (
    <dialog ref={dialog} class={wide ? "wide" : ""} aria-labelledby={id} onClose={onClose} onClick={press}>
      <div class="dialog">
        <h2 id={id}>{title}</h2>
        {children}
      </div>
    </dialog>
  );
}

interface ConfirmProps {
  title: string;
  children: ComponentChildren;
  verb: string;
  danger?: boolean;
  action: Action;
  onYes: () => void;
  onClose: () => void;
  disabled?: boolean;
}

/** Asks before something is done that cannot be taken back. */
export function Confirm({ title, children, verb, danger, action, onYes, onClose, disabled }: ConfirmProps) {
  const submit = (event: TargetedSubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    onYes();
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <form class="stack" onSubmit={submit}>
        {children}
        {action.problem && <Refused problem={action.problem} />}
        <div class="buttons end">
          <button type="button" class="button quiet" onClick={onClose}>
            Leave it
          </button>
          <button type="submit" class={`button ${danger ? "danger" : ""}`} disabled={action.busy || disabled}>
            {action.busy ? `${verb}…` : verb}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

interface FieldProps {
  label: string;
  hint?: string;
  wrong?: string;
  class?: string;
  children: (id: string, describedBy: string | undefined) => ComponentChildren;
}

/** A control with its label, and what is to be said about it. */
export function Field({ label, hint, wrong, class: extra = "", children }: FieldProps) {
  const id = useId();
  const says = wrong ?? hint;
  return (
    <div class={`field ${extra}`}>
      <label for={id}>{label}</label>
      {children(id, says ? `${id}-says` : undefined)}
      {says && (
        <p id={`${id}-says`} class={wrong ? "wrong" : "fine"}>
          {says}
        </p>
      )}
    </div>
  );
}

/** Writes a value as JSON or text, as it is. */
export function Code({ children, label }: { children: string; label: string }) {
  return (
    <pre class="code" tabIndex={0} role="region" aria-label={label}>
      <code>{children}</code>
    </pre>
  );
}

/** Says something that just happened, also to who does not see it. */
export function Said({ children }: { children?: ComponentChildren }) {
  return (
    <div role="status" class={children ? "notice good" : "sr"}>
      {children}
    </div>
  );
}
