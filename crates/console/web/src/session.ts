// Who looks at the console, and what he may do. The server decides; the pages only leave out what it would refuse.

import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Role, Session } from "./types";

const ORDER: Role[] = ["viewer", "operator", "admin"];

export const SessionContext = createContext<Session | null>(null);

export function useSession(): Session | null {
  return useContext(SessionContext);
}

/** Tells whether somebody may do what needs at least `role`. */
export function useMay(role: Role): boolean {
  const session = useSession();
  return session !== null && ORDER.indexOf(session.role) >= ORDER.indexOf(role);
}
