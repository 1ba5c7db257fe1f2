// One stream: how it is and why, its figures, its picture, its outputs, its list, what happened.
import { useEffect, useMemo, useState } from "preact/hooks";
import { Problem, ask, get } from "./api";
import { useCell } from "./cell";
import { Events } from "./events";
import { Graph, add, series } from "./graph";
import { Outputs } from "./outputs";
import { Act, Confirm, State } from "./parts";
import { PlaylistEditor } from "./playlist";
import { Preview } from "./preview";
import { refresh, say, show, tick } from "./store";
import { Tile } from "./streams";
import type { StreamView } from "./types";
import { bitRate, bytes, clock, codecs, lag, plural, position, span, title } from "./words";

export function Stream({ id }: { id: string }) {
  const now = useCell(tick);
  const [first, setFirst] = useState<StreamView | null>(null);
  const [isGone, setGone] = useState(false);
  const [isStopping, setStopping] = useState(false);
  useEffect(() => {
    setFirst(null);
    setGone(false);
    show([], id);
    get<StreamView>(`streams/${id}`).then(setFirst, (error) => {
      if (error instanceof Problem && error.status === 404) setGone(true);
    });
  }, [id]);
  const current = now?.stream?.summary.id === id ? now.stream : null;
  // It ended while it was looked at.
  useEffect(() => {
    if (first && now && !now.stream && !isGone) {
      get(`streams/${id}`).catch((error) => setGone(error instanceof Problem && error.status === 404));
    }
  }, [now]);
  const graphs = useMemo(() => ({ rate: series(), cpu: series(), lag: series() }), [id]);
  const [points, setPoints] = useState(0);
  useEffect(() => {
    if (!current || !now) return;
    const at = Date.parse(now.at) / 1000;
    add(graphs.rate, at, current.summary.bit_rate);
    add(graphs.cpu, at, current.summary.cpu_percent);
    add(graphs.lag, at, current.summary.lag_seconds * 1000);
    setPoints((count) => count + 1);
  }, [now]);
  const view = current ?? first;
  if (isGone) {
    return (
      <main>
        <p class="nothing card">The stream {id} does not run any more. <a href="#/streams">All streams</a></p>
        <Events stream={id} />
      </main>
    );
  }
  if (!view) return <main><p class="loading">Loading…</p></main>;
  const { summary: line, stats } = view;
  const name = title(line);
  return (
    <main>
      <div class="heading">
        <h1>{name}</h1>
        <State health={line.health} word={line.phase === "running" ? line.health : line.phase} />
        <span class="quiet">{[line.id, line.owner].filter(Boolean).join(" · ")}</span>
        <span class="push" />
        {view.has_playlist && <Act act={() => ask("POST", `streams/${id}/skip`)}>Next item</Act>}
        <button type="button" class="danger" onClick={() => setStopping(true)}>Stop</button>
      </div>
      {view.reasons.length > 0 && (
        <ul class="reasons" aria-label="Why it is not good">
          {view.reasons.map((reason) => (
            <li key={reason.kind + reason.output} class={reason.is_bad ? "bad" : "fair"}>
              <State health={reason.is_bad ? "bad" : "fair"} /> {reason.text}
            </li>
          ))}
        </ul>
      )}
      <div class="split">
        <section class="card" aria-label="Picture">
          <Preview id={id} title={name} />
          <p class="playing">
            {line.is_fallback
              ? "Its fallback is on the air."
              : line.playing
                ? (
                  <>
                    <strong>{line.playing.title}</strong> {position(line.playing.position_seconds)}
                    {line.playing.length_seconds !== null && ` of ${position(line.playing.length_seconds)}`}
                    {line.playing.length_seconds !== null && (
                      <progress
                        aria-label="Place in the file"
                        max={line.playing.length_seconds}
                        value={Math.min(line.playing.position_seconds, line.playing.length_seconds)}
                      />
                    )}
                  </>
                )
                : "Live."}
          </p>
          <p class="quiet">
            {[
              codecs(line.video, line.audio),
              line.encoder ? `encoded by ${line.encoder}` : "sent as it is",
              line.names.length > 0 && `players ask for ${line.names.join(", ")}`,
            ].filter(Boolean).join("; ")}
          </p>
        </section>
        <section aria-label="Figures">
          <div class="tiles small">
            <Tile name="Up" value={span(line.uptime_seconds)}>{plural(stats.laps, "lap")}</Tile>
            <Tile name="Pictures" value={`${line.fps.toFixed(1)} /s`}>{line.mode}</Tile>
            <Tile name="Sent" value={bytes(line.bytes_sent)}>{bytes(line.bytes_held)} held</Tile>
            <Tile name="Drops" value={String(line.drops)}>{plural(line.reconnects, "reconnect")}</Tile>
            <Tile name="Players" value={String(line.players)} />
          </div>
          <Graph title="Media" data={graphs.rate} least={100_000} format={bitRate} version={points} />
          <Graph title="Lag" data={graphs.lag} least={20} format={(value) => lag(value / 1000)} version={points} />
          <Graph title="CPU" data={graphs.cpu} least={1} format={(value) => `${value.toFixed(value < 10 ? 2 : 0)} %`} version={points} />
        </section>
      </div>
      <Outputs id={id} outputs={stats.outputs} />
      {view.has_playlist && <PlaylistEditor id={id} of="picture" />}
      {view.has_sound_playlist && <PlaylistEditor id={id} of="sound" />}
      {view.errors.length > 0 && (
        <details class="card">
          <summary>{plural(view.errors.length, "error")}, the newest at {clock(view.errors.at(-1)!.at)}</summary>
          <ol class="log">
            {[...view.errors].reverse().map((error, place) => (
              <li key={place}><time>{clock(error.at)}</time> <code>{error.code}</code> {error.text}</li>
            ))}
          </ol>
        </details>
      )}
      <Events stream={id} />
      {view.spec !== null && (
        <details class="card">
          <summary>What it is made of</summary>
          <pre>{JSON.stringify(view.spec, null, 2)}</pre>
        </details>
      )}
      {isStopping && (
        <Confirm
          title={`Stop ${name}?`}
          text={`It ends, with ${plural(line.outputs, "output")} and ${plural(line.players, "player")}. Recordings are completed.`}
          yes="Stop it"
          close={() => setStopping(false)}
          act={async () => {
            await ask("DELETE", `streams/${id}`);
            say(`${name} was stopped.`);
            location.hash = "#/streams";
            await refresh();
          }}
        />
      )}
    </main>
  );
}
