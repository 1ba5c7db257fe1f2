// Server-sent events by `fetch`, which can send the token where `EventSource` cannot. In: bytes as they come. Out: events, until it is
// closed; a connection that ends is opened again, after 1 s, then less often, up to every 15 s.
import { Problem, request } from "./api";
import { Cell } from "./cell";

export interface Frame {
  id: string | null;
  event: string;
  data: string;
}

/** Connections that are open; the page says so when there are none. */
export const connected = new Cell(0);

const LONGEST = 15_000;
/** The server sends something every 15 s at least. */
const SILENCE = 40_000;

/** Follows what `path` says; `path` is asked each time anew, with the id of the last event. */
export function follow(path: (last: string | null) => string, tell: (frame: Frame) => void): () => void {
  const closed = new AbortController();
  void (async () => {
    let wait = 1000;
    let last: string | null = null;
    while (!closed.signal.aborted) {
      const attempt = new AbortController();
      const stop = () => attempt.abort();
      closed.signal.addEventListener("abort", stop);
      let isOpen = false;
      try {
        const response = await request("GET", path(last), undefined, attempt.signal);
        isOpen = true;
        connected.set(connected.value + 1);
        wait = 1000;
        await read(response, attempt, (frame) => {
          last = frame.id ?? last;
          tell(frame);
        });
      } catch (error) {
        if (error instanceof Problem && (error.status === 401 || error.status === 403 || error.status === 404)) return;
      } finally {
        closed.signal.removeEventListener("abort", stop);
        if (isOpen) connected.set(connected.value - 1);
      }
      if (closed.signal.aborted) return;
      await new Promise((done) => setTimeout(done, wait));
      wait = Math.min(wait * 2, LONGEST);
    }
  })();
  return () => closed.abort();
}

async function read(response: Response, attempt: AbortController, tell: (frame: Frame) => void): Promise<void> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const silence = setTimeout(() => attempt.abort(), SILENCE);
    const { done, value } = await reader.read().finally(() => clearTimeout(silence));
    if (done) return;
    rest += value;
    for (;;) {
      const end = rest.indexOf("\n\n");
      if (end < 0) break;
      const frame = parsed(rest.slice(0, end));
      rest = rest.slice(end + 2);
      if (frame) tell(frame);
    }
  }
}

function parsed(text: string): Frame | null {
  let id: string | null = null;
  let event = "message";
  const data: string[] = [];
  for (const line of text.split("\n")) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue;
    const value = line.slice(colon + 1).replace(/^ /, "");
    const field = line.slice(0, colon);
    if (field === "id") id = value;
    else if (field === "event") event = value;
    else if (field === "data") data.push(value);
  }
  return data.length === 0 ? null : { id, event, data: data.join("\n") };
}
