// The API's shapes (groundstation/src/publish/view.rs); times are milliseconds of UTC since 1970.

export type Level = 'normal' | 'yellow' | 'red';

export interface Limits {
  red_low: number | null;
  yellow_low: number | null;
  yellow_high: number | null;
  red_high: number | null;
}

/** Start, lowest, highest, last value, worst judgement (0 normal, 1 yellow, 2 red). */
export type ParameterPoint = [number, number, number, number, number];
/** Start, good, corrected, erred, missing. */
export type FrameBucket = [number, number, number, number, number];

export interface Parameter {
  name: string;
  unit: string;
  limits: Limits | null;
  t: number | null;
  value: number | null;
  text: string | null;
  level: Level | null;
  points: ParameterPoint[];
}

export interface ChannelRow {
  id: string;
  label: string;
  name: string;
  total: number;
  missing: number;
  buckets: FrameBucket[];
}

export interface Link {
  open: boolean;
  sessions: number;
  peer: string;
  opened_ms: number;
  closed_ms: number | null;
  reason: string | null;
  rtt_ms: number;
  rate_bps: number | null;
  bytes: number;
}

export interface LinkSample {
  t: number;
  rtt_ms: number;
  rate_bps: number;
}

export interface Custody {
  archived: number;
  archived_bytes: number;
  receipted: number;
  left_to_welcome: number;
  awaited: number;
  voided: number;
  newest_ms: number | null;
}

export interface Spacecraft {
  id: number;
  name: string;
  link: Link | null;
  link_samples: LinkSample[];
  backlog: { units: number; bytes: number | null } | null;
  custody: Custody;
  channels: ChannelRow[];
  parameters: Parameter[];
}

export interface Alarm {
  id: string;
  spacecraft: number;
  parameter: string;
  message: string;
  level: Level;
  state: 'raised' | 'cleared';
  raised_ms: number;
  cleared_ms: number | null;
}

export interface Product {
  id: string;
  spacecraft: number;
  kind: string;
  t: number;
  lat: number;
  lon: number;
  score_label: string | null;
  score: number | null;
  decision: 'sent' | 'summary';
  thumbnail: boolean;
  source_bytes: number;
  sent_bytes: number;
}

export interface Job {
  id: string;
  task: string;
  pool: string;
  state: 'queued' | 'running' | 'done' | 'failed' | 'waiting';
  queue_ms: number;
  run_ms: number;
  cost: number;
  result: string;
  trace: string;
  t: number;
}

export interface Counts {
  received: number;
  archived: number;
  duplicate: number;
  conflict: number;
  rejected: Record<string, number>;
  shed: Record<string, number>;
  replayed: number;
  receipted: number;
  left_to_welcome: number;
  packets: number;
  packet_copies: number;
  parameters: number;
  alarms: number;
  products: number;
  jobs_done: number;
  jobs_failed: number;
  not_shown: number;
}

export interface Quantiles {
  p50: number | null;
  p99: number | null;
}

export interface Snapshot {
  now_ms: number;
  full: boolean;
  revision: number;
  spacecraft: Spacecraft[];
  alarms: Alarm[];
  products: Product[];
  jobs: Job[];
  counts: Counts;
  capture_to_insight_ms: Quantiles & { count: number; contact_wait_excluded: Quantiles };
}

export interface Station {
  name: string;
  lat: number;
  lon: number;
  height_m: number;
  mask_deg: number;
}

/** The contact plan as the planner writes it; times are RFC 3339. */
export interface PlanFile {
  station: Station | null;
  satellite?: string;
  contacts?: {
    rise: string;
    culmination: string;
    set: string;
    max_elevation_deg: number;
    rate_bps?: number;
  }[];
  track?: { t: string; lat: number; lon: number }[];
  link?: {
    t: string;
    elevation_deg: number;
    range_km: number;
    rtt_ms: number;
    rate_bps: number;
  }[];
}
