// The items of a playlist, moved by drag or with the keyboard, added, removed, played now. Every change is on the air at once.
import { useEffect, useState } from "preact/hooks";
import { ask, get } from "./api";
import { useCell } from "./cell";
import { Act } from "./parts";
import { sayProblem, tick } from "./store";
import type { Item } from "./types";
import { fileName, plural } from "./words";

const MOST = 500;

export function PlaylistEditor({ id, of }: { id: string; of: "picture" | "sound" }) {
  const [items, setItems] = useState<Item[] | null>(null);
  const [total, setTotal] = useState(0);
  const [path, setPath] = useState("");
  const [dragged, setDragged] = useState<number | null>(null);
  const [over, setOver] = useState<number | null>(null);
  const playing = useCell(tick)?.stream?.summary.playing?.item ?? null;
  const query = of === "sound" ? "?of=sound" : "";
  const load = async () => {
    try {
      const list = await get<{ items: Item[]; total: number }>(`streams/${id}/playlist?of=${of}&limit=${MOST}`);
      setItems(list.items);
      setTotal(list.total);
    } catch (error) {
      sayProblem(error);
    }
  };
  useEffect(() => void load(), [id, of, playing]);
  const change = async (work: Promise<unknown>) => {
    try {
      await work;
    } catch (error) {
      sayProblem(error);
    }
    await load();
  };
  const move = (from: number, to: number) => {
    const item = items?.[from];
    if (!items || !item || to < 0 || to >= items.length || to === from) return;
    const moved = items.toSpliced(from, 1).toSpliced(to, 0, item);
    setItems(moved);
    void change(ask("PATCH", `streams/${id}/playlist/items/${item.id}${query}`, { position: to }));
    // The button that was pressed goes with its item.
    requestAnimationFrame(() => document.getElementById(`${of}-${item.id}`)?.focus());
  };
  const heading = of === "sound" ? "Playlist of the sound" : "Playlist";
  return (
    <section class="card" aria-labelledby={`list-${of}`}>
      <div class="heading">
        <h2 id={`list-${of}`}>{heading}</h2>
        <span class="quiet">{plural(total, "item")}{total > MOST && `, the first ${MOST} are shown`}</span>
      </div>
      <p class="quiet">Drag an item, or move it with the arrow keys.</p>
      <ol class="list">
        {items?.map((item, place) => (
          <li
            key={item.id}
            draggable
            class={[item.is_playing && "on-air", dragged === place && "dragged", over === place && "over"].filter(Boolean).join(" ")}
            onDragStart={(event) => { setDragged(place); event.dataTransfer!.effectAllowed = "move"; event.dataTransfer!.setData("text/plain", item.id); }}
            onDragOver={(event) => { event.preventDefault(); setOver(place); }}
            onDragEnd={() => { setDragged(null); setOver(null); }}
            onDrop={(event) => { event.preventDefault(); if (dragged !== null) move(dragged, place); setDragged(null); setOver(null); }}
          >
            <button
              type="button"
              id={`${of}-${item.id}`}
              class="grip quiet"
              aria-label={`${fileName(item.path)}, ${place + 1} of ${items.length}; arrow keys move it`}
              onKeyDown={(event) => {
                const step = event.key === "ArrowUp" ? -1 : event.key === "ArrowDown" ? 1 : 0;
                if (step === 0) return;
                event.preventDefault();
                move(place, place + step);
              }}
            >
              ⠿
            </button>
            <span class="file" title={item.path}>{fileName(item.path)}</span>
            {item.weight !== 1 && <span class="quiet">×{item.weight}</span>}
            {item.is_playing && <strong class="tag">on the air</strong>}
            <span class="push" />
            <Act aria-label={`Play now: ${fileName(item.path)}`} act={() => change(ask("POST", `streams/${id}/playlist/items/${item.id}/play${query}`))}>
              Play now
            </Act>
            <Act aria-label={`Remove ${fileName(item.path)}`} act={() => change(ask("DELETE", `streams/${id}/playlist/items/${item.id}${query}`))}>
              Remove
            </Act>
          </li>
        ))}
      </ol>
      <form
        class="tools"
        onSubmit={(event) => {
          event.preventDefault();
          if (path.trim() === "") return;
          void change(ask("POST", `streams/${id}/playlist/items${query}`, { path: path.trim() }).then(() => setPath("")));
        }}
      >
        <input aria-label="File on the server" placeholder="File on the server" spellcheck={false} value={path} onInput={(event) => setPath(event.currentTarget.value)} />
        <button type="submit">Add it</button>
      </form>
    </section>
  );
}
