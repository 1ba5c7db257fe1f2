// Other machines: which there are, how full they are, and the streams that should run on any of them.
import { useEffect, useState } from "preact/hooks";
import { ask, get } from "./api";
import { Cell } from "./cell";
import { Act, Confirm, State } from "./parts";
import { say, sayProblem } from "./store";
import type { ClusterNode, ClusterPage, ClusterStream, ClusterView } from "./types";
import { plural } from "./words";

/** Whether this server is a node of a cluster. */
export const isNode = new Cell(false);

/** Finds it out. */
export async function lookForCluster(): Promise<void> {
  try {
    isNode.set((await get<ClusterView>("cluster")).this !== null);
  } catch {
    // While it cannot be asked it is one all the same.
    isNode.set(true);
  }
}

const HEALTH = { up: "good", draining: "fair", lost: "bad" } as const;
const STATES = { running: "good", starting: "fair", waiting: "bad" } as const;

export function Cluster() {
  const [view, setView] = useState<ClusterView | null>(null);
  const [trouble, setTrouble] = useState("");
  const [page, setPage] = useState<ClusterPage | null>(null);
  const [text, setText] = useState("");
  const [after, setAfter] = useState<string[]>([]);
  const [removing, setRemoving] = useState<ClusterStream | null>(null);
  const load = async () => {
    const query = new URLSearchParams({ limit: "50" });
    if (text) query.set("name", text);
    const from = after.at(-1);
    if (from) query.set("after", from);
    try {
      setView(await get<ClusterView>("cluster"));
      setPage(await get<ClusterPage>(`cluster/streams?${query}`));
      setTrouble("");
    } catch (error) {
      setTrouble(error instanceof Error ? error.message : String(error));
    }
  };
  useEffect(() => {
    void load();
    const timer = setInterval(load, 2000);
    return () => clearInterval(timer);
  }, [text, after]);
  const here = view?.nodes.find((node) => node.name === view.this);
  const drain = async (draining: boolean) => {
    await ask("PUT", "cluster/draining", { draining });
    say(draining ? "Its streams go to other nodes, one by one." : "It takes streams again.");
    await load();
  };
  return (
    <main>
      <div class="heading">
        <h1>Cluster</h1>
        <span class="push" />
        {here && (here.state === "draining"
          ? <Act act={() => drain(false)}>Take streams again</Act>
          : <Act act={() => drain(true)}>Drain {view!.this}</Act>)}
        <a class="button primary" href="#/new/cluster">New stream on any node</a>
      </div>
      {trouble && <p class="problem card" role="alert">{trouble}</p>}
      {view && (
        <section class="card scroll" aria-label="Nodes">
          <table>
            <thead>
              <tr><th>Node</th><th>State</th><th>Load</th><th>Streams</th><th>Others play from</th><th>Labels</th><th>Version</th></tr>
            </thead>
            <tbody>{view.nodes.map((node) => <NodeRow key={node.name} node={node} isHere={node.name === view.this} />)}</tbody>
          </table>
        </section>
      )}
      <div class="tools">
        <input
          type="search" aria-label="Find streams by name" placeholder="Find by name" value={text}
          onInput={(event) => { setAfter([]); setText(event.currentTarget.value); }}
        />
        {page && <span class="quiet">{plural(page.total, "stream", "streams")}</span>}
      </div>
      {page?.total === 0 && <p class="nothing card">{text ? "None has this in its name." : "Nothing is to run on any node."}</p>}
      {page && page.streams.length > 0 && (
        <section class="card scroll" aria-label="Streams">
          <table>
            <thead>
              <tr><th>Stream</th><th>State</th><th>Node</th><th>Labels</th><th>Revision</th><th><span class="hidden">Actions</span></th></tr>
            </thead>
            <tbody>
              {page.streams.map((stream) => (
                <tr key={stream.name}>
                  <td><strong>{stream.name}</strong></td>
                  <td>
                    <State health={STATES[stream.state]} word={stream.state} />
                    {stream.reasons.map(({ node, reason }) => <div key={node} class="problem">{node}: {reason}</div>)}
                  </td>
                  <td>{stream.node ?? "–"}</td>
                  <td>{stream.labels.join(", ") || "–"}</td>
                  <td>{stream.revision ?? "–"}</td>
                  <td class="acts">
                    <button type="button" aria-label={`End ${stream.name}`} onClick={() => setRemoving(stream)}>End</button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
      {(after.length > 0 || page?.next) && (
        <div class="tools">
          <button type="button" disabled={after.length === 0} onClick={() => setAfter(after.slice(0, -1))}>Before</button>
          <button type="button" disabled={!page?.next} onClick={() => setAfter([...after, page!.next!])}>After</button>
        </div>
      )}
      {removing && (
        <Confirm
          title={`End ${removing.name}?`}
          text="It ends where it runs, and no node takes it any more."
          yes="End it"
          close={() => setRemoving(null)}
          act={async () => {
            await ask("DELETE", `cluster/streams/${encodeURIComponent(removing.name)}`);
            say(`${removing.name} is to run no more.`);
            await load().catch(sayProblem);
          }}
        />
      )}
    </main>
  );
}

function NodeRow({ node, isHere }: { node: ClusterNode; isHere: boolean }) {
  const { streams } = node.room;
  return (
    <tr>
      <td><strong>{node.name}</strong>{isHere && " (here)"}</td>
      <td>
        <State health={HEALTH[node.state]} word={node.state} />
        {node.state === "lost" && <div class="quiet">not heard of for {Math.round(node.age_seconds)} s</div>}
        {!node.runs_streams && node.state !== "lost" && <div class="quiet">runs nothing of the list</div>}
      </td>
      <td>
        <progress max={1} value={Math.min(node.load, 1)} aria-label={`Load of ${node.name}`} /> {Math.round(node.load * 100)} %
      </td>
      <td>{streams ? `${streams.used} of ${streams.budget}` : "–"}</td>
      <td>{node.address ? <code>{node.address}</code> : "–"}</td>
      <td>{node.labels.join(", ") || "–"}</td>
      <td>{node.version || "–"}</td>
    </tr>
  );
}
