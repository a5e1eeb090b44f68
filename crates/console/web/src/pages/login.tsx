// Who comes has to say who he is.

import type { TargetedSubmitEvent } from "preact";
import { api } from "../api";
import { useAction } from "../async";
import { Field, Refused } from "../parts";
import { useTitle } from "../router";
import type { Session } from "../types";

export function Login({ onLogin }: { onLogin: (session: Session) => void }) {
  useTitle("Log in");
  const action = useAction();
  const submit = (event: TargetedSubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    void action.run(async () => {
      await api.login(String(form.get("name")).trim(), String(form.get("password")));
      onLogin(await api.session());
    });
  };
  return (
    <main class="alone">
      <img src="/favicon.svg" alt="" width="44" height="44" />
      <h1>Console</h1>
      <form class="stack panel" onSubmit={submit}>
        <Field label="Name">
          {(id) => <input id={id} name="name" type="text" autocomplete="username" required autofocus />}
        </Field>
        <Field label="Password">
          {(id) => <input id={id} name="password" type="password" autocomplete="current-password" required />}
        </Field>
        {action.problem && <Refused problem={action.problem} />}
        <button type="submit" class="button" disabled={action.busy}>
          {action.busy ? "Logging in…" : "Log in"}
        </button>
      </form>
    </main>
  );
}
