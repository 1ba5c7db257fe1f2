// What the page knows. In: the API's answers and what it tells. Out: cells that the views show. Two connections stay open: figures, once a
// second, of what is visible; and events.
import { Problem, get, refused, unsaved } from "./api";
import { Cell } from "./cell";
import { follow } from "./sse";
import type { Happened, StreamLine, StreamPage, Tick } from "./types";

const EVENTS = 500;
const PAGE = 1000;
/** Streams whose figures come at a time: the API's limit. */
const VISIBLE = 200;
const POINTS = 60;

export const tick = new Cell<Tick | null>(null);
/** All streams that fit the filter; figures of those that are visible are current. */
export const streams = new Cell<Map<string, StreamLine> | null>(null);
export const filter = new Cell({ text: "", health: "" });
export const events = new Cell<Happened[]>([]);
/** Events that were not received. */
export const missed = new Cell(0);
export const toasts = new Cell<{ id: number; text: string; isBad: boolean }[]>([]);
/** Bit rates of the last minute, of what was visible. */
export const rates = new Map<string, number[]>();

let toastsSoFar = 0;

export function say(text: string, isBad = false): void {
  const toast = { id: ++toastsSoFar, text, isBad };
  toasts.set([...toasts.value.slice(-3), toast]);
  setTimeout(() => unsay(toast.id), isBad ? 12_000 : 5000);
}

export function unsay(id: number): void {
  toasts.set(toasts.value.filter((toast) => toast.id !== id));
}

unsaved.follow((of) => of && say(`It was done, but it is not saved: ${of.why}.`, true));

export function sayProblem(error: unknown): void {
  if (error instanceof Problem && error.status === 401) return;
  const parts = error instanceof Problem && error.parts.length > 0 ? ` (${error.parts.join("; ")})` : "";
  say((error instanceof Error ? error.message : String(error)) + parts, true);
}

// The list.

let asked: AbortController | null = null;

/** Gets the list anew. */
export async function refresh(): Promise<void> {
  asked?.abort();
  const mine = (asked = new AbortController());
  const { text, health } = filter.value;
  try {
    const all = new Map<string, StreamLine>();
    let after: string | null = null;
    do {
      const query = new URLSearchParams({ limit: String(PAGE) });
      if (text) query.set("text", text);
      if (health) query.set("health", health);
      if (after) query.set("after", after);
      const page: StreamPage = await get(`streams?${query}`, mine.signal);
      for (const line of page.streams) all.set(line.id, line);
      after = page.next;
    } while (after);
    streams.set(all);
  } catch (error) {
    if (!mine.signal.aborted) sayProblem(error);
  }
}

let refreshing = 0;

/** Gets the list anew soon; of many wishes, one is granted. */
function refreshSoon(): void {
  if (refreshing) return;
  const wait = (streams.value?.size ?? 0) > VISIBLE ? 3000 : 300;
  refreshing = window.setTimeout(() => {
    refreshing = 0;
    void refresh();
  }, wait);
}

filter.follow(refreshSoon);

// Figures.

let shown = { list: [] as string[], stream: null as string | null };
let stopFigures: (() => void) | null = null;
let restarting = 0;

/** What is visible now. */
export function show(list: string[], stream: string | null): void {
  const wanted = { list: list.slice(0, VISIBLE), stream };
  if (stopFigures && wanted.stream === shown.stream && wanted.list.join() === shown.list.join()) return;
  const isOther = wanted.stream !== shown.stream;
  shown = wanted;
  if (!hasBegun) return;
  clearTimeout(restarting);
  restarting = window.setTimeout(startFigures, stopFigures && !isOther ? 250 : 0);
}

function startFigures(): void {
  stopFigures?.();
  const query = new URLSearchParams();
  if (shown.list.length > 0) query.set("streams", shown.list.join());
  if (shown.stream) query.set("stream", shown.stream);
  stopFigures = follow(
    () => `api/v1/figures?${query}`,
    ({ data }) => note(JSON.parse(data)),
  );
}

function note(next: Tick): void {
  const before = tick.value?.engine;
  tick.set(next);
  const lines = next.stream ? [...next.streams, next.stream.summary] : next.streams;
  for (const line of lines) {
    const known = rates.get(line.id) ?? [];
    known.push(line.bit_rate);
    if (known.length > POINTS) known.shift();
    rates.set(line.id, known);
  }
  const { engine } = next;
  if (!before || before.streams !== engine.streams || before.started !== engine.started || before.ended !== engine.ended) {
    refreshSoon();
  } else if (filter.value.health && (before.good !== engine.good || before.fair !== engine.fair)) {
    refreshSoon();
  }
  const all = streams.value;
  if (all && lines.length > 0) {
    for (const line of lines) if (all.has(line.id)) all.set(line.id, line);
    streams.set(new Map(all));
  }
}

// Events.

let stopEvents: (() => void) | null = null;

function startEvents(): void {
  stopEvents?.();
  let waiting: Happened[] = [];
  let drawing = 0;
  stopEvents = follow(
    (last) => `api/v1/events?${last ? `after=${encodeURIComponent(last)}` : "history=300"}`,
    ({ id, event, data }) => {
      const value = JSON.parse(data);
      if (event === "gap") {
        missed.set(missed.value + (value.lost ?? 1));
        return;
      }
      waiting.push({ ...value, id, about: event });
      // Many at once are drawn once.
      drawing ||= window.setTimeout(() => {
        events.set([...events.value, ...waiting].slice(-EVENTS));
        waiting = [];
        drawing = 0;
      }, 100);
    },
  );
}

let hasBegun = false;

/** Begins, or begins again with another token. That is tried once: each wrong one counts. */
export async function begin(): Promise<void> {
  events.set([]);
  await refresh();
  if (refused.value !== null) return;
  hasBegun = true;
  startEvents();
  startFigures();
}

export function end(): void {
  hasBegun = false;
  stopEvents?.();
  stopFigures?.();
  stopEvents = stopFigures = null;
}
