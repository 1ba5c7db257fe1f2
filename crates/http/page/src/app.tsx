// The page: which view is shown, and what is around it. The address after `#` says which.
import { render } from "preact";
import { useEffect } from "preact/hooks";
import "./app.css";
import { hasToken, refused, signOut } from "./api";
import { Cell, useCell } from "./cell";
import { Cluster, isNode, lookForCluster } from "./cluster";
import { EventsView } from "./events";
import { Keys } from "./keys";
import { New } from "./new";
import { Toasts } from "./parts";
import { Recordings } from "./recordings";
import { Room } from "./room";
import { Schedules } from "./schedules";
import { connected } from "./sse";
import { begin, end, show } from "./store";
import { Stream } from "./stream";
import { Streams } from "./streams";
import { TokenForm } from "./token";

const route = new Cell(location.hash);
window.addEventListener("hashchange", () => route.set(location.hash));

const PLACES: [string, string][] = [
  ["#/streams", "Streams"], ["#/keys", "Keys"], ["#/schedules", "Schedules"], ["#/recordings", "Recordings"],
  ["#/room", "Capacity"], ["#/cluster", "Cluster"], ["#/events", "Events"],
];

/** The place of `PLACES` that a view belongs to. */
function here(at: string): string {
  if (at === "#/new/schedule") return "#/schedules";
  if (at === "#/new/cluster") return "#/cluster";
  return PLACES.some(([place]) => place === at) ? at : "#/streams";
}

function View({ at }: { at: string }) {
  const stream = at.match(/^#\/streams\/(s\d+)$/)?.[1];
  useEffect(() => {
    window.scrollTo(0, 0);
    if (!stream && at !== "#/streams" && at !== "") show([], null);
    document.title = `${stream ?? PLACES.find(([place]) => place === at)?.[1] ?? "Streams"} – flowcast`;
  }, [at]);
  if (stream) return <Stream id={stream} />;
  switch (at) {
    case "#/new": return <New key="now" />;
    case "#/new/schedule": return <New key="scheduled" isScheduled />;
    case "#/new/cluster": return <New key="cluster" isShared />;
    case "#/cluster": return <Cluster />;
    case "#/keys": return <Keys />;
    case "#/schedules": return <Schedules />;
    case "#/recordings": return <Recordings />;
    case "#/room": return <Room />;
    case "#/events": return <EventsView />;
    default: return <Streams />;
  }
}

function App() {
  const at = useCell(route);
  const why = useCell(refused);
  const isConnected = useCell(connected) > 0;
  const isCluster = useCell(isNode);
  useEffect(() => { if (why !== null) end(); }, [why]);
  // By then the token is accepted.
  useEffect(() => { if (isConnected) void lookForCluster(); }, [isConnected]);
  if (why !== null) return <><TokenForm why={why} /><Toasts /></>;
  return (
    <>
      <header class="top">
        <a class="brand" href="#/streams">flowcast</a>
        <nav aria-label="Views">
          {PLACES.filter(([place]) => isCluster || place !== "#/cluster").map(([place, name]) => (
            <a key={place} href={place} aria-current={place === here(at) ? "page" : undefined}>{name}</a>
          ))}
        </nav>
        <span class="push" />
        <span class={isConnected ? "link" : "link bad"} role="status">{isConnected ? "● connected" : "■ not connected"}</span>
        {hasToken() && <button type="button" class="quiet" onClick={signOut}>Sign out</button>}
      </header>
      <View at={at} />
      <Toasts />
    </>
  );
}

const root = document.getElementById("app")!;
root.textContent = "";
render(<App />, root);
void begin();
