// The console: its login, its frame, and which page is shown for which path.

import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { api, type Problem, whenLoggedOut } from "./api";
import { asProblem } from "./async";
import { begin, end } from "./live";
import { ComparisonPage } from "./pages/comparison";
import { DeadLetters } from "./pages/dead-letters";
import { Events } from "./pages/events";
import { Invariants } from "./pages/invariants";
import { Login } from "./pages/login";
import { Logs } from "./pages/logs";
import { MapPage } from "./pages/map";
import { Operations } from "./pages/operations";
import { Runs } from "./pages/runs";
import { SagaPage } from "./pages/saga";
import { Sagas } from "./pages/sagas";
import { ServicePage } from "./pages/service";
import { Services } from "./pages/services";
import { Slos } from "./pages/slos";
import { TopicPage } from "./pages/topic";
import { TracePage } from "./pages/trace";
import { Traces } from "./pages/traces";
import { Empty, Page, Refused } from "./parts";
import { Link, navigate, to, usePlace } from "./router";
import { SessionContext } from "./session";
import { Shell } from "./shell";
import "./styles/base.css";
import "./styles/parts.css";
import "./styles/pages.css";
import { apply } from "./theme";
import type { Session } from "./types";

function Shows({ path }: { path: string }) {
  const [, first = "", second = "", third = ""] = path.split("/").map(decodeURIComponent);
  switch (first) {
    case "":
      return <MapPage />;
    case "traces":
      return second ? <TracePage id={second} key={second} /> : <Traces />;
    case "logs":
      return <Logs />;
    case "runs":
      return third ? <ComparisonPage before={second} after={third} key={path} /> : <Runs />;
    case "services":
      return second ? <ServicePage name={second} key={second} /> : <Services />;
    case "events":
      return second ? <TopicPage topic={second} key={second} /> : <Events />;
    case "dead-letters":
      return <DeadLetters />;
    case "sagas":
      return third ? <SagaPage service={second} id={third} key={third} /> : <Sagas />;
    case "slos":
      return <Slos />;
    case "invariants":
      return <Invariants />;
    case "operations":
      return <Operations />;
    default:
      return (
        <Page title="Not found">
          <Empty>
            There is no such page. <Link href="/">To the map</Link>
          </Empty>
        </Page>
      );
  }
}

function App() {
  const place = usePlace();
  const path = place.pathname;
  const [session, setSession] = useState<Session | null>(null);
  const [problem, setProblem] = useState<Problem>();
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    if (session) return;
    api.session().then(setSession, (error) => {
      const refused = asProblem(error);
      if (refused.status === 401) askForLogin();
      else setProblem(refused);
    });
  }, [attempt]);
  useEffect(() => {
    if (session) begin();
  }, [session]);

  if (path === "/login") {
    return (
      <Login
        onLogin={(next) => {
          setSession(next);
          navigate(inside(place.searchParams.get("next")), true);
        }}
      />
    );
  }
  if (problem) {
    const again = () => {
      setProblem(undefined);
      setAttempt(attempt + 1);
    };
    return (
      <main class="alone">
        <h1>Banyan console</h1>
        <Refused problem={problem} again={again} />
      </main>
    );
  }
  if (!session) return null;
  return (
    <SessionContext.Provider value={session}>
      <Shell>
        <Shows path={path} />
      </Shell>
    </SessionContext.Provider>
  );
}

/** Where to go after the login: a page of the console, whatever the address says. */
function inside(next: string | null): string {
  return next && /^\/(?![/\\])/.test(next) ? next : "/";
}

function askForLogin(): void {
  end();
  const here = location.pathname + location.search;
  if (!here.startsWith("/login")) navigate(to("/login", { next: here === "/" ? "" : here }), true);
}

apply();
whenLoggedOut(askForLogin);
const app = document.getElementById("app");
if (app) render(<App />, app);
