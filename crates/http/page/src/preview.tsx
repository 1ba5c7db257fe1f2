// The picture of a stream: its newest keyframe, or moving if it is opened.
import { useEffect, useRef, useState } from "preact/hooks";
import { headers, place, request } from "./api";
import type { Said } from "./play";

const EVERY = 5000;

/** The newest keyframe, made anew every 5 s while it is visible. */
export function Still({ id, size, alt }: { id: string; size: number; alt: string }) {
  const [url, setUrl] = useState<string | null>(null);
  useEffect(() => {
    const over = new AbortController();
    let current: string | null = null;
    let timer = 0;
    const load = async () => {
      try {
        if (!document.hidden) {
          const path = `api/v1/streams/${id}/picture.jpg?size=${size}`;
          const picture = await (await request("GET", path, undefined, over.signal)).blob();
          const before = current;
          current = URL.createObjectURL(picture);
          setUrl(current);
          if (before) URL.revokeObjectURL(before);
        }
      } catch {
        // There is none yet, or no more.
      }
      if (!over.signal.aborted) timer = window.setTimeout(load, EVERY);
    };
    void load();
    return () => {
      over.abort();
      clearTimeout(timer);
      if (current) URL.revokeObjectURL(current);
    };
  }, [id, size]);
  return url ? <img class="still" src={url} alt={alt} /> : <div class="still empty" aria-hidden="true" />;
}

const WORDS: Record<Said, string> = {
  plays: "",
  waits: "Waiting for pictures…",
  unsupported: "This browser cannot play it here.",
  ended: "It has ended.",
};

/** Moving, by HTTP-FLV. */
export function Preview({ id, title }: { id: string; title: string }) {
  const video = useRef<HTMLVideoElement>(null);
  const [isOpen, setOpen] = useState(false);
  const [said, setSaid] = useState<Said>("waits");
  useEffect(() => {
    if (!isOpen) return;
    let stop: (() => void) | null = null;
    let isOver = false;
    // A file of its own: who opens no preview does not load the player.
    const file = "./play.js";
    void (import(/* @vite-ignore */ file) as Promise<typeof import("./play")>).then(({ play }) => {
      if (isOver || !video.current) return;
      stop = play(video.current, place(`api/v1/streams/${id}/live.flv`), headers(), setSaid);
    });
    return () => {
      isOver = true;
      stop?.();
    };
  }, [isOpen, id]);
  useEffect(() => setOpen(false), [id]);
  return (
    <div class="preview">
      {isOpen
        ? <video ref={video} muted autoplay playsinline controls aria-label={`Preview of ${title}`} />
        : <Still id={id} size={640} alt={`The newest picture of ${title}`} />}
      <div class="bar">
        <button type="button" onClick={() => setOpen(!isOpen)}>{isOpen ? "Close the preview" : "▶ Watch"}</button>
        <span class="quiet">{isOpen ? WORDS[said] : "A picture every 5 s"}</span>
      </div>
    </div>
  );
}
