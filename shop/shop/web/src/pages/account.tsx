// Signing in, and making an account.

import { useState } from "preact/hooks";
import type { TargetedSubmitEvent } from "preact";
import { api } from "../api";
import { useAction } from "../async";
import { catchUp } from "../cart";
import { Field, read, Refused } from "../parts";
import { Link, navigate, useTitle } from "../router";
import { session } from "../session";

/** Where to go on; only within the shop. */
function goOn(place: URL): string {
  const next = place.searchParams.get("next") ?? "/";
  return next.startsWith("/") && !next.startsWith("//") && !next.startsWith("/\\") ? next : "/";
}

export function Account({ place, isNew }: { place: URL; isNew: boolean }) {
  useTitle(isNew ? "Register" : "Log in");
  const action = useAction();
  const [shown, setShown] = useState(false);
  const next = goOn(place);
  const other = `${isNew ? "/login" : "/register"}${next === "/" ? "" : `?next=${encodeURIComponent(next)}`}`;

  const submit = (event: TargetedSubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const { name = "", email = "", password = "" } = read(event.currentTarget);
    void action.run(async () => {
      if (isNew) await api.register({ name, email, password });
      const login = await api.login(email, password);
      session.begin(login.accessToken, email, login.expiresAt);
      await catchUp().catch(() => {});
      navigate(next, true);
    });
  };
  const { problem } = action;
  return (
    <div class="narrow">
      <h1 tabIndex={-1}>{isNew ? "Make an account" : "Log in"}</h1>
      {place.searchParams.has("expired") && <p class="notice">You were signed out after 15 minutes. Log in to go on.</p>}
      <form class="panel form" onSubmit={submit} key={String(isNew)}>
        {isNew && <Field label="Name" name="name" autocomplete="name" maxLength={200} problem={problem} />}
        <Field label="E-mail" name="email" type="email" autocomplete="email" maxLength={254} problem={problem} />
        <Field
          label="Password"
          name="password"
          type={shown ? "text" : "password"}
          autocomplete={isNew ? "new-password" : "current-password"}
          hint={isNew ? "At least 8 characters" : undefined}
          minLength={isNew ? 8 : undefined}
          maxLength={200}
          problem={problem}
        />
        <label class="check">
          <input type="checkbox" checked={shown} onChange={(event) => setShown(event.currentTarget.checked)} />
          Show the password
        </label>
        {problem && Object.keys(problem.fields).length === 0 && <Refused problem={problem} />}
        <button class="button wide" disabled={action.busy}>
          {action.busy ? "One moment…" : isNew ? "Make the account" : "Log in"}
        </button>
      </form>
      <p class="center">
        {isNew ? "You have an account? " : "New here? "}
        <Link href={other}>{isNew ? "Log in" : "Make an account"}</Link>
      </p>
    </div>
  );
}
