// What several pages are made of.

import type { ComponentChildren } from "preact";
import { useEffect, useId, useState } from "preact/hooks";
import { Art } from "./art";
import type { Money, Problem, Product } from "./api";
import { money, title } from "./format";
import { Link } from "./router";

export function Icon({ name }: { name: "search" | "cart" | "person" | "minus" | "plus" | "bin" | "back" | "tick" | "cross" }) {
  const paths = {
    search: "M10.500 4a6.500 6.500 0 1 0 0 13 6.500 6.500 0 0 0 0-13Zm4.700 11.200L20 20",
    cart: "M3 4h2.500l2.300 11h9.700L20 7.500H6.400M9.500 19.500h.01M16 19.500h.01",
    person: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8Zm-7 8c.6-4 3.300-6 7-6s6.400 2 7 6",
    minus: "M6 12h12",
    plus: "M6 12h12M12 6v12",
    bin: "M5 7h14M10 7V4.500h4V7M7 7l.8 12.500h8.400L17 7M10.500 11v5M13.500 11v5",
    back: "M14 6l-6 6 6 6",
    tick: "M5 12.500l4.500 4.500L19 7.500",
    cross: "M7 7l10 10M17 7L7 17",
  };
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={paths[name]} />
    </svg>
  );
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** A refusal, in the shop's own words, with its page and the way to try again. */
export function Refused({ problem, again }: { problem: Problem; again?: () => void }) {
  return (
    <div class="notice bad" role="alert">
      <p>
        <strong>{problem.status === 404 ? "Not found." : "That did not work."}</strong> {sentence(problem.message)}
      </p>
      <p class="fine">
        {problem.status > 0 && <a href={`/errors/${problem.reason}`}>{problem.reason}</a>}
        {problem.instance && <span> request {problem.instance.slice(0, 8)}</span>}
      </p>
      {again && (
        <button type="button" class="button quiet" onClick={again}>
          Try again
        </button>
      )}
    </div>
  );
}

export function Empty({ heading, children }: { heading: string; children: ComponentChildren }) {
  return (
    <div class="empty">
      <svg class="empty-art" viewBox="0 0 120 90" aria-hidden="true">
        <path d="M14 78h92M60 78V42m0 18c-12 0-20-6-20-16m20 22c12 0 20-6 20-16" />
        <circle cx="60" cy="30" r="14" /><circle cx="36" cy="40" r="10" /><circle cx="84" cy="38" r="10" />
      </svg>
      <h2>{heading}</h2>
      <div>{children}</div>
    </div>
  );
}

export function Tile({ product }: { product: Product }) {
  return (
    <li class="tile">
      <Link href={`/products/${encodeURIComponent(product.productId)}`}>
        <Art id={product.productId} name={product.name} />
        <span class="tile-price">{money(product.price)}</span>
        <span class="tile-name">{title(product.name)}</span>
      </Link>
    </li>
  );
}

export function TileSkeletons({ count }: { count: number }) {
  return (
    <>
      {Array.from({ length: count }, (_, index) => (
        <li class="tile ghost" aria-hidden="true" key={`ghost-${index}`}>
          <div>
            <span class="art" />
            <span class="tile-price">
              <i class="bone short" />
            </span>
            <span class="tile-name">
              <i class="bone" />
            </span>
          </div>
        </li>
      ))}
    </>
  );
}

interface StepperProps {
  value: number;
  max?: number;
  of: string;
  disabled?: boolean;
  onChange: (value: number) => void;
}

/** The quantity that the contract admits: 1 to 100,000. */
export function Stepper({ value, max = 100_000, of, disabled, onChange }: StepperProps) {
  const [text, setText] = useState(String(value));
  useEffect(() => setText(String(value)), [value]);
  const set = (next: number) => {
    const bounded = Math.min(max, Math.max(1, Math.trunc(next) || 1));
    setText(String(bounded));
    if (bounded !== value) onChange(bounded);
  };
  return (
    <div class="stepper" role="group" aria-label={`Quantity of ${of}`}>
      <button type="button" disabled={disabled || value <= 1} onClick={() => set(value - 1)} aria-label="One less">
        <Icon name="minus" />
      </button>
      <input
        inputMode="numeric"
        aria-label="Quantity"
        value={text}
        disabled={disabled}
        onInput={(event) => setText(event.currentTarget.value)}
        onChange={(event) => set(Number(event.currentTarget.value))}
      />
      <button type="button" disabled={disabled || value >= max} onClick={() => set(value + 1)} aria-label="One more">
        <Icon name="plus" />
      </button>
    </div>
  );
}

interface FieldProps {
  label: string;
  name: string;
  type?: "text" | "email" | "password";
  autocomplete: string;
  problem?: Problem;
  hint?: string;
  minLength?: number;
  maxLength?: number;
  value?: string;
  class?: string;
}

/** A field of a form, with what the shop finds wrong with it beside it. */
export function Field({ label, name, type = "text", autocomplete, problem, hint, class: extra = "", ...rest }: FieldProps) {
  const id = useId();
  const wrong = problem?.field(name);
  return (
    <div class={`field ${extra}`}>
      <label for={id}>{label}</label>
      <input
        id={id}
        name={name}
        // One name for three kinds of fields that the types of JSX tell apart.
        type={type as "text"}
        autocomplete={autocomplete}
        required
        aria-invalid={wrong ? true : undefined}
        aria-describedby={wrong || hint ? `${id}-note` : undefined}
        {...rest}
      />
      {(wrong || hint) && (
        <p id={`${id}-note`} class={wrong ? "wrong" : "fine"}>
          {wrong ? `${label} ${wrong}` : hint}
        </p>
      )}
    </div>
  );
}

export function Total({ label, amount }: { label: string; amount?: Money }) {
  return (
    <p class="total">
      <span>{label}</span>
      <strong>{money(amount)}</strong>
    </p>
  );
}

/** Reads a form: trimmed text by name, but a password as it was typed. */
export function read(form: HTMLFormElement): Record<string, string> {
  const entries = [...new FormData(form)].map(([name, value]) => {
    const text = String(value);
    return [name, name === "password" ? text : text.trim()];
  });
  return Object.fromEntries(entries);
}
