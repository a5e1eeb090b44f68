// Pages by path, filters by query, with the browser's history.

import type { AnchorHTMLAttributes, ComponentChildren, TargetedMouseEvent } from "preact";
import { useCallback, useEffect, useState } from "preact/hooks";

const MOVED = "moved";

export function navigate(to: string, replace = false): void {
  if (replace) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  dispatchEvent(new Event(MOVED));
}

/** Returns where we are, and draws the component again when that changes. */
export function usePlace(): URL {
  const [href, setHref] = useState(location.href);
  useEffect(() => {
    const moved = () => setHref(location.href);
    addEventListener(MOVED, moved);
    addEventListener("popstate", moved);
    return () => {
      removeEventListener(MOVED, moved);
      removeEventListener("popstate", moved);
    };
  }, []);
  return new URL(href);
}

export type Filters = Record<string, string>;

/** Returns the filters that stand in the address, and what changes some of them; an empty one leaves the address. */
export function useFilters(): [Filters, (changed: Filters, replace?: boolean) => void] {
  const place = usePlace();
  const change = useCallback((changed: Filters, replace = true) => {
    const query = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries(changed)) {
      if (value) query.set(name, value);
      else query.delete(name);
    }
    navigate(query.size ? `${location.pathname}?${query}` : location.pathname, replace);
  }, []);
  return [Object.fromEntries(place.searchParams), change];
}

/** Makes the address of a page with filters. */
export function to(path: string, filters: Record<string, string | number | undefined> = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(filters)) if (value !== undefined && value !== "") query.set(name, String(value));
  return query.size ? `${path}?${query}` : path;
}

interface LinkProps extends Omit<AnchorHTMLAttributes<HTMLAnchorElement>, "href" | "role"> {
  href: string;
  children?: ComponentChildren;
}

export function Link({ href, ...rest }: LinkProps) {
  const follow = (event: TargetedMouseEvent<HTMLAnchorElement>) => {
    const plain = !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey && event.button === 0;
    if (!plain || event.defaultPrevented) return;
    event.preventDefault();
    navigate(href);
    document.getElementById("main")?.scrollTo(0, 0);
  };
  return <a {...rest} href={href} onClick={follow} />;
}

/** Names the page, in the tab and in the history. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = title ? `${title} · Banyan console` : "Banyan console";
  }, [title]);
}
