// A form made from a JSON schema, as the contracts' messages have it.

import { Field } from "./parts";
import type { Schema } from "./types";

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** Levels of messages within messages that a form shows; what is deeper is written as JSON. */
const DEPTH_MAX = 6;

/** Follows a reference within a document. */
export function resolve(schema: Schema | undefined, root: unknown): Schema {
  if (!schema) return {};
  if (!schema.$ref) {
    const one = schema.oneOf?.[0] ?? schema.anyOf?.[0];
    return !schema.type && !schema.properties && one ? resolve(one, root) : schema;
  }
  let found: unknown = root;
  for (const part of schema.$ref.replace(/^#\//, "").split("/")) {
    found = (found as Record<string, unknown> | undefined)?.[part.replaceAll("~1", "/").replaceAll("~0", "~")];
  }
  return { ...(found as Schema | undefined), description: schema.description ?? (found as Schema | undefined)?.description };
}

function typeOf(schema: Schema): string {
  const type = Array.isArray(schema.type) ? schema.type.find((one) => one !== "null") : schema.type;
  return type ?? (schema.properties ? "object" : schema.enum ? "string" : "any");
}

/** Returns what a form begins with: required messages are there, everything else is left out. */
export function begin(schema: Schema, root: unknown, depth = 0): Json {
  const own = resolve(schema, root);
  if (typeOf(own) !== "object" || depth > DEPTH_MAX) return typeOf(own) === "array" ? [] : "";
  const value: { [name: string]: Json } = {};
  for (const name of own.required ?? []) {
    const field = resolve(own.properties?.[name], root);
    if (typeOf(field) === "object" && field.properties) value[name] = begin(field, root, depth + 1);
  }
  return value;
}

/** Leaves out fields that nobody filled in: the contract's defaults hold for them. */
export function filled(value: Json): Json {
  if (Array.isArray(value)) return value.map(filled);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, one]): [string, Json][] => (one === "" ? [] : [[name, filled(one)]])),
  );
}

interface FieldsProps {
  schema: Schema;
  root: unknown;
  value: Json;
  onChange: (value: Json) => void;
  /** What is wrong with a field, by its path from the message, as `items[0].quantity`. */
  wrong: (path: string) => string | undefined;
  path?: string;
  depth?: number;
}

/** The fields of a message. */
export function Fields({ schema, root, value, onChange, wrong, path = "", depth = 0 }: FieldsProps) {
  const own = resolve(schema, root);
  const names = Object.keys(own.properties ?? {}).filter((name) => !resolve(own.properties![name], root).readOnly);
  const held = value !== null && typeof value === "object" && !Array.isArray(value) ? value : {};
  if (names.length === 0) return <p class="fine">The message has no fields.</p>;
  const set = (name: string, next: Json | undefined) => {
    const { [name]: _, ...rest } = held;
    onChange(next === undefined ? rest : { ...rest, [name]: next });
  };
  return (
    <div class="fields">
      {names.map((name) => {
        const at = path ? `${path}.${name}` : name;
        return (
          <One
            key={name}
            {...{ name, root, wrong, depth }}
            schema={resolve(own.properties![name], root)}
            isRequired={own.required?.includes(name) ?? false}
            value={held[name]}
            onChange={(next) => set(name, next)}
            path={at}
          />
        );
      })}
    </div>
  );
}

interface OneProps {
  name: string;
  schema: Schema;
  root: unknown;
  value: Json | undefined;
  isRequired: boolean;
  onChange: (value: Json | undefined) => void;
  wrong: (path: string) => string | undefined;
  path: string;
  depth: number;
}

function One(props: OneProps) {
  const { name, schema, value, isRequired, onChange, wrong, path } = props;
  const type = typeOf(schema);
  const label = isRequired ? `${name} *` : name;
  const says = { hint: schema.description, wrong: wrong(path) };
  const text = value === undefined || value === null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
  if (schema.enum) {
    return (
      <Field label={label} {...says}>
        {(id, by) => (
          <select id={id} aria-describedby={by} value={text} onChange={(event) => onChange(event.currentTarget.value)}>
            <option value="">not set</option>
            {schema.enum!.map((one) => (
              <option key={one}>{one}</option>
            ))}
          </select>
        )}
      </Field>
    );
  }
  if (type === "boolean") {
    return (
      <label class="check">
        <input type="checkbox" checked={value === true} onChange={(event) => onChange(event.currentTarget.checked || undefined)} /> {label}
      </label>
    );
  }
  if (type === "array" || (type === "object" && schema.properties)) return <Nested {...props} label={label} />;
  if (type === "object" || type === "any") {
    return (
      <Field label={`${label} (JSON)`} {...says}>
        {(id, by) => <textarea id={id} aria-describedby={by} rows={2} value={text} onChange={(event) => onChange(parsed(event.currentTarget.value))} />}
      </Field>
    );
  }
  const isNumber = type === "number" || type === "integer";
  return (
    <Field label={label} {...says}>
      {(id, by) => (
        <input
          id={id}
          aria-describedby={by}
          aria-invalid={says.wrong ? true : undefined}
          type="text"
          inputMode={isNumber ? "decimal" : undefined}
          placeholder={schema.format ?? undefined}
          autocomplete="off"
          spellcheck={false}
          value={text}
          onInput={(event) => onChange(isNumber ? numeric(event.currentTarget.value) : event.currentTarget.value)}
        />
      )}
    </Field>
  );
}

/** What is no number stays text: the server says what is wrong with it. */
function numeric(text: string): Json {
  return text.trim() !== "" && Number.isSafeInteger(Number(text)) ? Number(text) : text;
}

function parsed(text: string): Json | undefined {
  if (text.trim() === "") return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** A message within the message, or a list. */
function Nested({ label, name, schema, root, value, onChange, wrong, path, depth }: OneProps & { label: string }) {
  if (depth >= DEPTH_MAX) return <p class="fine">{label}: write it as JSON.</p>;
  const rest = { root, wrong, depth: depth + 1 };
  if (typeOf(schema) === "array") {
    const list = Array.isArray(value) ? value : [];
    const item = resolve(schema.items, root);
    const replace = (index: number, next: Json | undefined) =>
      onChange(next === undefined ? list.filter((_, at) => at !== index) : list.with(index, next));
    return (
      <fieldset>
        <legend>{label}</legend>
        {list.map((one, index) => (
          <div class="item" key={index}>
            {typeOf(item) === "object" && item.properties ? (
              <Fields {...rest} schema={item} value={one} onChange={(next) => replace(index, next)} path={`${path}[${index}]`} />
            ) : (
              <One {...rest} name={`${name} ${index + 1}`} schema={item} value={one} isRequired={false} onChange={(next) => replace(index, next ?? "")} path={`${path}[${index}]`} />
            )}
            <button type="button" class="text" onClick={() => replace(index, undefined)}>
              Remove {index + 1}
            </button>
          </div>
        ))}
        <button type="button" class="text" onClick={() => onChange([...list, begin(item, root)])}>
          Add one to {name}
        </button>
      </fieldset>
    );
  }
  return (
    <fieldset>
      <legend>{label}</legend>
      {value === undefined ? (
        <button type="button" class="text" onClick={() => onChange(begin(schema, root))}>
          Set {name}
        </button>
      ) : (
        <>
          <Fields {...rest} schema={schema} value={value} onChange={onChange} path={path} />
          <button type="button" class="text" onClick={() => onChange(undefined)}>
            Leave out {name}
          </button>
        </>
      )}
    </fieldset>
  );
}
