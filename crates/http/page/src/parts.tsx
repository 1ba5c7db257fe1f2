// Small parts that many views use.
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { sayProblem, toasts, unsay } from "./store";
import { useCell } from "./cell";
import type { Health } from "./types";

const SHAPES: Record<string, string> = { good: "●", fair: "▲", bad: "■" };

/** Health: by shape and word as well as by color. */
export function State({ health, word }: { health: Health | "idle"; word?: string }) {
  return (
    <span class={`state ${health}`}>
      <span aria-hidden="true">{SHAPES[health] ?? "○"}</span> {word ?? health}
    </span>
  );
}

/** A button whose work is awaited: it cannot be pressed twice, and what fails is said. */
export function Act({ act, children, kind = "", ...rest }: {
  act: () => Promise<unknown> | void;
  children: ComponentChildren;
  kind?: string;
} & Omit<JSX.ButtonHTMLAttributes<HTMLButtonElement>, "onClick">) {
  const [isBusy, setBusy] = useState(false);
  const press = async () => {
    setBusy(true);
    try {
      await act();
    } catch (error) {
      sayProblem(error);
    } finally {
      setBusy(false);
    }
  };
  return (
    <button type="button" {...rest} class={kind} disabled={isBusy || !!rest.disabled} aria-busy={isBusy} onClick={press}>
      {children}
    </button>
  );
}

export function Field({ label, hint, children }: { label: string; hint?: string; children: ComponentChildren }) {
  return (
    <label class="field">
      <span>{label}</span>
      {children}
      {hint && <small>{hint}</small>}
    </label>
  );
}

export function Toasts() {
  const all = useCell(toasts);
  return (
    <div class="toasts" role="status" aria-live="polite">
      {all.map(({ id, text, isBad }) => (
        <div key={id} class={isBad ? "toast bad" : "toast"}>
          <span>{text}</span>
          <button type="button" class="quiet" aria-label="Dismiss" onClick={() => unsay(id)}>✕</button>
        </div>
      ))}
    </div>
  );
}

/** A dialog over the page. Escape closes it. */
export function Dialog({ title, close, children }: { title: string; close: () => void; children: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const element = dialog.current!;
    element.showModal();
    return () => element.close();
  }, []);
  return (
    <dialog ref={dialog} aria-label={title} onCancel={(event) => { event.preventDefault(); close(); }}>
      <header>
        <h2>{title}</h2>
        <button type="button" class="quiet" aria-label="Close" onClick={close}>✕</button>
      </header>
      {children}
    </dialog>
  );
}

/** Asks before something is ended. */
export function Confirm({ title, text, yes, act, close }: {
  title: string;
  text: string;
  yes: string;
  act: () => Promise<unknown>;
  close: () => void;
}) {
  return (
    <Dialog title={title} close={close}>
      <p>{text}</p>
      <footer>
        <button type="button" onClick={close}>Cancel</button>
        <Act kind="danger" act={async () => { await act(); close(); }}>{yes}</Act>
      </footer>
    </Dialog>
  );
}

/** A line of the last minute. */
export function Spark({ values, width = 90, height = 24 }: { values: number[]; width?: number; height?: number }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const element = canvas.current!;
    const scale = window.devicePixelRatio || 1;
    element.width = width * scale;
    element.height = height * scale;
    const to = element.getContext("2d")!;
    to.scale(scale, scale);
    to.clearRect(0, 0, width, height);
    if (values.length < 2) return;
    const most = Math.max(...values, 1);
    to.strokeStyle = getComputedStyle(element).color;
    to.lineWidth = 1.5;
    to.lineJoin = "round";
    to.beginPath();
    values.forEach((value, place) => {
      const x = width - (values.length - 1 - place) * (width / 59);
      to.lineTo(x, height - 2 - (value / most) * (height - 4));
    });
    to.stroke();
  });
  return <canvas ref={canvas} class="spark" style={{ width: `${width}px`, height: `${height}px` }} aria-hidden="true" />;
}
