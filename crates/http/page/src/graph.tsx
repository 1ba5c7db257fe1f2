// Graphs of the last five minutes. In: one point a second. Out: lines, by uPlot.
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

const POINTS = 300;
const SHORTEST = 60;

export interface Series {
  times: number[];
  values: number[];
}

export const series = (): Series => ({ times: [], values: [] });

export function add(to: Series, time: number, value: number): void {
  to.times.push(time);
  to.values.push(value);
  if (to.times.length > POINTS) {
    to.times.shift();
    to.values.shift();
  }
}

/** A color of the style sheet as a canvas takes it: not as `light-dark(…)`. */
function color(within: Element, name: string): string {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  within.append(probe);
  const resolved = getComputedStyle(probe).color;
  probe.remove();
  return resolved;
}

/** Whether the page is dark: what is drawn has to be drawn again then. */
function useDark(): boolean {
  const [query] = useState(() => window.matchMedia("(prefers-color-scheme: dark)"));
  const [isDark, setDark] = useState(query.matches);
  useEffect(() => {
    const note = () => setDark(query.matches);
    query.addEventListener("change", note);
    return () => query.removeEventListener("change", note);
  }, [query]);
  return isDark;
}

export function Graph({ title, data, least, format, version }: {
  title: string;
  data: Series;
  /** What the scale reaches to at least. */
  least: number;
  format: (value: number) => string;
  /** Changes with each point. */
  version: number;
}) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const isDark = useDark();
  useEffect(() => {
    const element = place.current!;
    const [ink, grid, accent, wash] = ["--quiet", "--line", "--accent", "--wash"].map((name) => color(element, name));
    const axis = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    const made = new uPlot(
      {
        width: Math.max(element.clientWidth, 120),
        height: 120,
        cursor: { show: false },
        legend: { show: false },
        scales: {
          // A minute at least, so that the first points are where they stay.
          x: { range: (_, first, last) => (last === null ? [Date.now() / 1000 - SHORTEST, Date.now() / 1000] : [Math.min(first, last - SHORTEST), last]) },
          y: { range: (_, __, most) => [0, Math.max((most ?? 0) * 1.15, least)] },
        },
        axes: [
          { ...axis, space: 70, size: 28, values: (_, times) => times.map((time) => new Date(time * 1000).toLocaleTimeString([], { hour12: false })) },
          { ...axis, size: 74, space: 30, values: (_, values) => values.map(format) },
        ],
        series: [{}, { stroke: accent, width: 1.5, fill: wash, points: { show: false } }],
      },
      [data.times, data.values],
      element,
    );
    plot.current = made;
    const sized = new ResizeObserver(() => made.setSize({ width: Math.max(element.clientWidth, 120), height: 120 }));
    sized.observe(element);
    return () => {
      sized.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [data, isDark]);
  useEffect(() => plot.current?.setData([data.times, data.values]), [version, data]);
  const now = data.values.at(-1);
  return (
    <figure class="graph">
      <figcaption>{title} <strong>{now === undefined ? "" : format(now)}</strong></figcaption>
      <div ref={place} role="img" aria-label={`${title} of the last five minutes`} />
    </figure>
  );
}
