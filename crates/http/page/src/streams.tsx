// The list of streams. With a thousand of them, only the rows that can be seen are in the page.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { ask } from "./api";
import { useCell } from "./cell";
import { Confirm, Spark, State } from "./parts";
import { filter, rates, refresh, say, show, streams, tick } from "./store";
import type { StreamLine } from "./types";
import { bitRate, bytes, codecs, lag, plural, position, span, title } from "./words";

const ROW = 60;
const AHEAD = 5;

export function Streams() {
  const all = useCell(streams);
  const wanted = useCell(filter);
  const [stopping, setStopping] = useState<StreamLine | null>(null);
  const lines = all ? [...all.values()] : [];
  return (
    <main>
      <h1 class="hidden">Streams</h1>
      <Summary />
      <div class="tools">
        <input
          type="search"
          placeholder="Find by name or owner"
          aria-label="Find by name or owner"
          value={wanted.text}
          onInput={(event) => filter.set({ ...filter.value, text: event.currentTarget.value })}
        />
        <select
          aria-label="Health"
          value={wanted.health}
          onChange={(event) => filter.set({ ...filter.value, health: event.currentTarget.value })}
        >
          <option value="">Any health</option>
          <option value="good">Good</option>
          <option value="fair">Fair</option>
          <option value="bad">Bad</option>
        </select>
        <a class="button primary" href="#/new">New stream</a>
      </div>
      {all === null
        ? <p class="loading">Loading…</p>
        : lines.length === 0 ? <Nothing isFiltered={wanted.text !== "" || wanted.health !== ""} /> : <Rows lines={lines} stop={setStopping} />}
      {stopping && (
        <Confirm
          title={`Stop ${title(stopping)}?`}
          text={`It ends, with ${plural(stopping.outputs, "output")} and ${plural(stopping.players, "player")}. Recordings are completed.`}
          yes="Stop it"
          close={() => setStopping(null)}
          act={async () => {
            await ask("DELETE", `streams/${stopping.id}`);
            say(`${title(stopping)} was stopped.`);
            await refresh();
          }}
        />
      )}
    </main>
  );
}

function Nothing({ isFiltered }: { isFiltered: boolean }) {
  return (
    <div class="nothing card">
      {isFiltered
        ? <p>No stream is like that.</p>
        : <p>Nothing runs. <a href="#/new">Start a stream</a>: a file that goes round, a playlist, or what somebody publishes.</p>}
    </div>
  );
}

function Summary() {
  const now = useCell(tick);
  const before = useRef<{ at: number; sent: number; cpu: number } | null>(null);
  const rate = useRef({ sent: 0, cpu: 0 });
  const engine = now?.engine;
  useLayoutEffect(() => {
    if (!now) return;
    const at = Date.parse(now.at) / 1000;
    const was = before.current;
    if (was && at > was.at) {
      rate.current = {
        sent: Math.max(0, ((now.engine.bytes_sent - was.sent) * 8) / (at - was.at)),
        cpu: Math.max(0, ((now.engine.cpu_time_seconds - was.cpu) / (at - was.at)) * 100),
      };
    }
    before.current = { at, sent: now.engine.bytes_sent, cpu: now.engine.cpu_time_seconds };
  }, [now]);
  if (!engine) return <div class="tiles" aria-busy="true" />;
  return (
    <div class="tiles">
      <Tile name="Streams" value={String(engine.streams)}>
        <State health="good" word={String(engine.good)} /> <State health="fair" word={String(engine.fair)} />{" "}
        <State health="bad" word={String(engine.bad)} />
      </Tile>
      <Tile name="Sent" value={bitRate(rate.current.sent)}>{bytes(engine.bytes_sent)} in all</Tile>
      <Tile name="Players" value={String(engine.players)}>{plural(engine.places_in_use, "place")} of {engine.limit}</Tile>
      <Tile name="CPU of the streams" value={`${rate.current.cpu.toFixed(1)} %`}>of one core</Tile>
      <Tile name="Faults" value={String(engine.failed)}>{plural(engine.reconnects, "reconnect")}, {plural(engine.dropped, "drop")}</Tile>
    </div>
  );
}

export function Tile({ name, value, children }: { name: string; value: string; children?: preact.ComponentChildren }) {
  return (
    <div class="tile">
      <div class="name">{name}</div>
      <div class="value">{value}</div>
      <div class="more">{children}</div>
    </div>
  );
}

/** Which rows can be seen. */
function useWindow(count: number, height: number) {
  const place = useRef<HTMLDivElement>(null);
  const [range, setRange] = useState({ first: 0, last: Math.min(count, 30) });
  useEffect(() => {
    let frame = 0;
    const look = () => {
      frame = 0;
      const top = -(place.current?.getBoundingClientRect().top ?? 0);
      const first = Math.max(0, Math.floor(top / height) - AHEAD);
      const last = Math.min(count, Math.ceil((top + window.innerHeight) / height) + AHEAD);
      setRange((now) => (now.first === first && now.last === last ? now : { first, last }));
    };
    const soon = () => { frame ||= requestAnimationFrame(look); };
    look();
    window.addEventListener("scroll", soon, { passive: true });
    window.addEventListener("resize", soon);
    return () => {
      cancelAnimationFrame(frame);
      window.removeEventListener("scroll", soon);
      window.removeEventListener("resize", soon);
    };
  }, [count, height]);
  return { place, ...range };
}

function useNarrow(): boolean {
  const [query] = useState(() => window.matchMedia("(max-width: 720px)"));
  const [isNarrow, setNarrow] = useState(query.matches);
  useEffect(() => {
    const note = () => setNarrow(query.matches);
    query.addEventListener("change", note);
    return () => query.removeEventListener("change", note);
  }, [query]);
  return isNarrow;
}

function Rows({ lines, stop }: { lines: StreamLine[]; stop: (line: StreamLine) => void }) {
  const height = useNarrow() ? 124 : ROW;
  const { place, first, last } = useWindow(lines.length, height);
  const visible = lines.slice(first, last);
  const ids = visible.map((line) => line.id).join();
  useEffect(() => show(ids === "" ? [] : ids.split(","), null), [ids]);
  return (
    <div class="rows" role="table" aria-label="Streams" aria-rowcount={lines.length + 1}>
      <div class="row head" role="row" aria-rowindex={1}>
        {["Health", "Stream", "On the air", "Rate", "Outputs", "Lag", "Players", "Up", ""].map((name) => (
          <span key={name} role="columnheader">{name || <span class="hidden">Actions</span>}</span>
        ))}
      </div>
      <div ref={place} role="rowgroup" style={{ height: `${lines.length * height}px` }} class="body">
        {visible.map((line, place) => (
          <Row key={line.id} line={line} top={(first + place) * height} height={height} index={first + place + 2} stop={stop} />
        ))}
      </div>
    </div>
  );
}

function Row({ line, top, height, index, stop }: {
  line: StreamLine;
  top: number;
  height: number;
  index: number;
  stop: (line: StreamLine) => void;
}) {
  const { playing } = line;
  return (
    <div class="row" role="row" aria-rowindex={index} style={{ top: `${top}px`, height: `${height}px` }}>
      <span role="cell" class="health">
        <State health={line.health} word={line.phase === "running" ? line.health : line.phase} />
      </span>
      <span role="cell" class="name">
        <a href={`#/streams/${line.id}`}>{title(line)}</a>
        <small>{[line.id, line.owner, line.encoder && "encoded"].filter(Boolean).join(" · ")}</small>
      </span>
      <span role="cell" class="air">
        <span class="cut">{line.is_fallback ? "its fallback" : playing ? playing.title : line.mode === "live" ? "live" : "–"}</span>
        <small>
          {playing
            ? `${position(playing.position_seconds)}${playing.length_seconds ? ` of ${position(playing.length_seconds)}` : ""}`
            : codecs(line.video, line.audio)}
        </small>
      </span>
      <span role="cell" class="rate"><Spark values={rates.get(line.id) ?? []} /> <span>{bitRate(line.bit_rate)}</span></span>
      <span role="cell" class="outputs" data-name="outputs">
        <span class={line.outputs_live < line.outputs ? "warn" : ""}>{line.outputs_live} / {line.outputs}</span>
      </span>
      <span role="cell" data-name="lag">{lag(line.lag_seconds)}</span>
      <span role="cell" data-name="players">{line.players}</span>
      <span role="cell" data-name="up">{span(line.uptime_seconds)}</span>
      <span role="cell" class="acts">
        <button type="button" aria-label={`Stop ${title(line)}`} onClick={() => stop(line)}>Stop</button>
      </span>
    </div>
  );
}
