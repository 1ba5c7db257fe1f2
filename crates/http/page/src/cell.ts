// A value that parts of the page depend on. In: new values. Out: the parts that show it are drawn again.
import { useEffect, useState } from "preact/hooks";

export class Cell<T> {
  private readonly listeners = new Set<(value: T) => void>();

  constructor(private current: T) {}

  get value(): T {
    return this.current;
  }

  set(value: T): void {
    if (Object.is(value, this.current)) return;
    this.current = value;
    for (const listener of [...this.listeners]) listener(value);
  }

  /** Calls `listener` with each new value, until what it returns is called. */
  follow(listener: (value: T) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

/** The value of a cell; what calls this is drawn again when it changes. */
export function useCell<T>(cell: Cell<T>): T {
  const [value, set] = useState(() => cell.value);
  useEffect(() => {
    set(() => cell.value);
    return cell.follow((next) => set(() => next));
  }, [cell]);
  return value;
}
