// Figures as people read them.

export function bitRate(bps: number): string {
  if (bps >= 9_950_000) return `${(bps / 1e6).toFixed(0)} Mbit/s`;
  if (bps >= 999_500) return `${(bps / 1e6).toFixed(1)} Mbit/s`;
  return `${Math.round(bps / 1000)} kbit/s`;
}

export function bytes(count: number): string {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  while (count >= 999.5 && unit < units.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${count.toFixed(unit === 0 || count >= 99.5 ? 0 : 1)} ${units[unit]}`;
}

/** 5 s, 12 min, 3:04 h, 5 d 2 h. */
export function span(seconds: number): string {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours}:${String(minutes % 60).padStart(2, "0")} h`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** 3:04, 1:02:03: a place in a file. */
export function position(seconds: number): string {
  const whole = Math.floor(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number: number) => String(number).padStart(2, "0");
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

export function lag(seconds: number): string {
  return seconds < 9.95 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`;
}

export function clock(at: string): string {
  return new Date(at).toLocaleTimeString([], { hour12: false });
}

export function day(at: string): string {
  return new Date(at).toLocaleString([], { hour12: false, dateStyle: "medium", timeStyle: "short" });
}

export const plural = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;

const CODECS: Record<string, string> = {
  avc1: "H.264", hvc1: "HEVC", av01: "AV1", vp08: "VP8", vp09: "VP9", mp4a: "AAC", ".mp3": "MP3", "ac-3": "AC-3", "ec-3": "E-AC-3",
};

/** Codecs by the names that people use. */
export const codecs = (...names: (string | null)[]): string =>
  names.filter((name) => name !== null).map((name) => CODECS[name] ?? name).join(", ");

/** What a stream is called. */
export function title(line: { id: string; label?: string | null; names?: string[] }): string {
  return line.label || line.names?.[0] || line.id;
}

export const fileName = (path: string): string => path.split("/").at(-1) || path;
