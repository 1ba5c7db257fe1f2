// The answers of the API, as far as the page uses them: see crates/http/openapi.json.

export type Health = "good" | "fair" | "bad";

export interface Playing {
  item: string | null;
  title: string;
  path: string;
  position_seconds: number;
  length_seconds: number | null;
}

export interface StreamLine {
  id: string;
  label: string | null;
  owner: string | null;
  names: string[];
  phase: string;
  health: Health;
  mode: string;
  uptime_seconds: number;
  fps: number;
  bit_rate: number;
  video: string | null;
  audio: string | null;
  cpu_percent: number;
  bytes_held: number;
  bytes_sent: number;
  lag_seconds: number;
  drops: number;
  reconnects: number;
  players: number;
  outputs: number;
  outputs_live: number;
  encoder: string | null;
  is_fallback: boolean;
  playing: Playing | null;
}

export interface StreamPage {
  streams: StreamLine[];
  total: number;
  next: string | null;
}

export interface EngineLine {
  streams: number;
  good: number;
  fair: number;
  bad: number;
  places_in_use: number;
  limit: number;
  started: number;
  not_started: number;
  ended: number;
  failed: number;
  reconnects: number;
  dropped: number;
  bytes_sent: number;
  cpu_time_seconds: number;
  players: number;
}

export interface OutputStats {
  id: string;
  label: string | null;
  backup_of: string | null;
  name: string;
  transport: string;
  path: string | null;
  phase: string;
  removed: boolean;
  bytes_sent: number;
  bit_rate: number;
  lag_seconds: number;
  drops: number;
  reconnects: number;
  failures: number;
  last_error: { code: string; message: string; at: string } | null;
}

export interface StreamView {
  summary: StreamLine;
  reasons: { kind: string; text: string; output: string | null; is_bad: boolean }[];
  stats: { outputs: OutputStats[]; laps: number; media_time_seconds: number };
  spec: unknown;
  errors: { at: string; code: string; text: string; event: string; output: string | null }[];
  has_playlist: boolean;
  has_sound_playlist: boolean;
}

export interface Tick {
  at: string;
  engine: EngineLine;
  streams: StreamLine[];
  stream: StreamView | null;
}

export interface Happened {
  id: string;
  about: string;
  at: string;
  event: string;
  text: string;
  stream?: string;
  label?: string | null;
  output?: string;
  output_label?: string | null;
}

export interface Item {
  id: string;
  path: string;
  weight: number;
  is_playing: boolean;
}

export interface KeyLine {
  name: string;
  owner: string | null;
  expires: string | null;
  publish_from: string[];
  play: string;
  old_keys: number;
  is_published: boolean;
}

export interface ClusterNode {
  name: string;
  state: "up" | "draining" | "lost";
  age_seconds: number;
  load: number;
  room: { streams: { used: number; budget: number } | null };
  address: string | null;
  labels: string[];
  version: string;
  runs_streams: boolean;
}

export interface ClusterView {
  this: string | null;
  nodes: ClusterNode[];
}

export interface ClusterStream {
  name: string;
  revision: number | null;
  labels: string[];
  state: "running" | "starting" | "waiting";
  node: string | null;
  reasons: { node: string; reason: string }[];
}

export interface ClusterPage {
  streams: ClusterStream[];
  total: number;
  next: string | null;
}
