// The frame around every page: where one can go, the search, the state of the stream, the theme, who is logged in.

import type { ComponentChildren, TargetedSubmitEvent } from "preact";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { api } from "./api";
import { Dialog, Icon } from "./parts";
import { PLACES, useKeys } from "./keys";
import { useTold } from "./live";
import { Link, navigate, to, usePlace } from "./router";
import { useSession } from "./session";
import { setTheme, type Theme, theme } from "./theme";

const GROUPS = ["Watch", "Run", "Assure"] as const;

function isHere(path: string, here: string): boolean {
  return path === "/" ? here === "/" : here === path || here.startsWith(`${path}/`);
}

function Places({ here, close }: { here: string; close: () => void }) {
  return (
    <nav class="places" aria-label="Pages">
      {GROUPS.map((group) => (
        <div key={group}>
          <p class="places-group" id={`group-${group}`}>
            {group}
          </p>
          <ul aria-labelledby={`group-${group}`}>
            {PLACES.filter((place) => place.group === group).map(({ path, label, letter }) => (
              <li key={path}>
                <Link
                  href={path}
                  aria-current={isHere(path, here) ? "page" : undefined}
                  aria-keyshortcuts={`g ${letter}`}
                  onClickCapture={close}
                >
                  {label}
                  <kbd aria-hidden="true">g {letter}</kbd>
                </Link>
              </li>
            ))}
          </ul>
        </div>
      ))}
    </nav>
  );
}

function Find() {
  const find = (event: TargetedSubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const query = String(new FormData(event.currentTarget).get("q") ?? "").trim();
    if (query) navigate(to("/traces", { q: query }));
  };
  return (
    <form class="find" role="search" aria-label="Traces" onSubmit={find}>
      <Icon name="search" />
      <input
        id="find"
        type="search"
        name="q"
        aria-label="Find a trace by order number, trace id or correlation id"
        placeholder="Order number, trace id, correlation id"
        maxLength={200}
        autocomplete="off"
        spellcheck={false}
      />
      <kbd aria-hidden="true">/</kbd>
    </form>
  );
}

const LINKS = { connecting: "Connecting", live: "Live", broken: "Not connected" };

function Live() {
  const link = useTold("link") ?? "connecting";
  return (
    <span class={`live ${link}`} role="status">
      <i class="dot" />
      {LINKS[link]}
    </span>
  );
}

const THEMES: Record<Theme, { next: Theme; icon: "screen" | "sun" | "moon"; label: string }> = {
  system: { next: "light", icon: "screen", label: "Colours: as the system" },
  light: { next: "dark", icon: "sun", label: "Colours: light" },
  dark: { next: "system", icon: "moon", label: "Colours: dark" },
};

function ThemeSwitch() {
  const [chosen, choose] = useState(theme());
  const { next, icon, label } = THEMES[chosen];
  const change = () => {
    setTheme(next);
    choose(next);
  };
  return (
    <button type="button" class="icon-button" onClick={change} aria-label={label} title={label}>
      <Icon name={icon} />
    </button>
  );
}

function Help({ close }: { close: () => void }) {
  const keys: [string, string][] = [
    ["/", "Search: the page's own filter, or traces"],
    ["↑ ↓ j k", "Move in a list, a table, a timeline"],
    ["← →", "Collapse and expand in a timeline"],
    ["Enter", "Open"],
    ["Esc", "Leave a field, close a panel"],
    ["?", "This list"],
  ];
  return (
    <Dialog title="Keys" onClose={close}>
      <div class="help">
        <dl class="keys">
          {keys.map(([key, what]) => (
            <div key={key}>
              <dt>
                <kbd>{key}</kbd>
              </dt>
              <dd>{what}</dd>
            </div>
          ))}
        </dl>
        <dl class="keys">
          {PLACES.map(({ letter, label }) => (
            <div key={letter}>
              <dt>
                <kbd>g</kbd> <kbd>{letter}</kbd>
              </dt>
              <dd>{label}</dd>
            </div>
          ))}
        </dl>
      </div>
      <div class="buttons end">
        <button type="button" class="button quiet" onClick={close}>
          Close
        </button>
      </div>
    </Dialog>
  );
}

export function Shell({ children }: { children: ComponentChildren }) {
  const place = usePlace();
  const session = useSession();
  const main = useRef<HTMLElement>(null);
  const isFirst = useRef(true);
  const [isHelp, setHelp] = useState(false);
  const [isOpen, setOpen] = useState(false);
  const path = place.pathname;
  useKeys(useCallback(() => setHelp(true), []));

  // A screen reader reads the heading of the page that was asked for; the first one it reads by itself.
  useEffect(() => {
    if (!isFirst.current) main.current?.querySelector("h1")?.focus({ preventScroll: true });
    isFirst.current = false;
  }, [path]);

  const leave = () => void api.logout().finally(() => location.assign("/login"));
  return (
    <div class={`shell ${isOpen ? "open" : ""}`}>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <header class="bar">
        <button type="button" class="icon-button menu" aria-label="Pages" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
          <Icon name="menu" />
        </button>
        <Link class="brand" href="/" aria-label={`${session?.system ?? "Banyan"}, to the map`}>
          <img src="/favicon.svg" alt="" width="22" height="22" />
          <span>{session?.system ?? "Banyan"}</span>
        </Link>
        <Find />
        <Live />
        <button type="button" class="icon-button" onClick={() => setHelp(true)} aria-label="Keys" title="Keys (?)">
          ?
        </button>
        <ThemeSwitch />
        {session && (
          <span class="who" title={`Role: ${session.role}`}>
            {session.user} <span class="fine">{session.role}</span>
          </span>
        )}
        {session?.login_required && (
          <button type="button" class="icon-button" onClick={leave} aria-label="Log out" title="Log out">
            <Icon name="out" />
          </button>
        )}
      </header>
      <aside class="side">
        <Places here={path} close={() => setOpen(false)} />
        <p class="version fine">{session && `Banyan ${session.version}`}</p>
      </aside>
      <main id="main" ref={main} tabIndex={-1}>
        {children}
      </main>
      {isHelp && <Help close={() => setHelp(false)} />}
    </div>
  );
}
