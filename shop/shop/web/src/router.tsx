// Pages by path, with the browser's history.

import type { ComponentChildren, TargetedMouseEvent } from "preact";
import { useEffect, useState } from "preact/hooks";

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

interface LinkProps {
  href: string;
  class?: string;
  title?: string;
  "aria-label"?: string;
  "aria-current"?: "true";
  children?: ComponentChildren;
}

export function Link({ href, ...rest }: LinkProps) {
  const follow = (event: TargetedMouseEvent<HTMLAnchorElement>) => {
    const plain = !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey && event.button === 0;
    if (!plain || event.defaultPrevented) return;
    event.preventDefault();
    navigate(href);
    scrollTo(0, 0);
  };
  return <a href={href} onClick={follow} {...rest} />;
}

/** Names the page, in the tab and in the history. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = title ? `${title} · Banyan Gifts` : "Banyan Gifts";
  }, [title]);
}
