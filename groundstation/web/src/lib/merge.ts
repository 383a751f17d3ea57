// What the page knows, kept up to date by changes; no framework, no clock.

import type {
  Alarm,
  ChannelRow,
  FrameBucket,
  Job,
  LinkSample,
  Parameter,
  ParameterPoint,
  Product,
  Snapshot,
  Spacecraft,
} from './types';

// Bounds as the station has them, with room for what it has forgotten already.
const POINTS_MAX = 1000;
const BUCKETS_MAX = 500;
const SAMPLES_MAX = 700;
const KEYED_MAX = { alarms: 256, products: 96, jobs: 128 };

export interface Craft extends Omit<Spacecraft, 'parameters'> {
  parameters: Map<string, Parameter>;
}

export interface Model {
  revision: number;
  crafts: Map<number, Craft>;
  alarms: Map<string, Alarm>;
  products: Map<string, Product>;
  jobs: Map<string, Job>;
  counts: Snapshot['counts'];
  insight: Snapshot['capture_to_insight_ms'];
}

/** Adds or replaces rows by their first column, in order, the oldest forgotten at the bound. */
export function upsert<T>(
  rows: T[],
  changed: readonly T[],
  key: (row: T) => number,
  bound: number,
): void {
  for (const row of changed) {
    let index = rows.length;
    // What changes is almost always at the end.
    while (index > 0 && key(rows[index - 1] as T) > key(row)) index -= 1;
    const before = rows[index - 1];
    if (before !== undefined && key(before) === key(row)) rows[index - 1] = row;
    else rows.splice(index, 0, row);
  }
  if (rows.length > bound) rows.splice(0, rows.length - bound);
}

const first = (row: FrameBucket | ParameterPoint) => row[0];
const time = (row: LinkSample) => row.t;

function mergeChannels(known: readonly ChannelRow[], changed: readonly ChannelRow[]): ChannelRow[] {
  return changed.map((row) => {
    const buckets = known.find((other) => other.id === row.id)?.buckets ?? [];
    upsert(buckets, row.buckets, first, BUCKETS_MAX);
    return { ...row, buckets };
  });
}

function mergeCraft(known: Craft | undefined, changed: Spacecraft): Craft {
  const parameters = known?.parameters ?? new Map<string, Parameter>();
  for (const parameter of changed.parameters) {
    const points = parameters.get(parameter.name)?.points ?? [];
    upsert(points, parameter.points, first, POINTS_MAX);
    parameters.set(parameter.name, { ...parameter, points });
  }
  const samples = known?.link_samples ?? [];
  upsert(samples, changed.link_samples, time, SAMPLES_MAX);
  return {
    ...changed,
    link_samples: samples,
    parameters,
    channels: mergeChannels(known?.channels ?? [], changed.channels),
  };
}

function mergeKeyed<T extends { id: string }>(known: Map<string, T>, changed: T[], bound: number) {
  for (const item of changed) known.set(item.id, item);
  for (const id of known.keys()) {
    if (known.size <= bound) break;
    known.delete(id);
  }
  return known;
}

/** Everything after a snapshot or a change. */
export function merge(known: Model | null, news: Snapshot): Model {
  const base = news.full ? null : known;
  const crafts = base?.crafts ?? new Map<number, Craft>();
  for (const craft of news.spacecraft)
    crafts.set(craft.id, mergeCraft(crafts.get(craft.id), craft));
  return {
    revision: news.revision,
    crafts,
    alarms: mergeKeyed(base?.alarms ?? new Map(), news.alarms, KEYED_MAX.alarms),
    products: mergeKeyed(base?.products ?? new Map(), news.products, KEYED_MAX.products),
    jobs: mergeKeyed(base?.jobs ?? new Map(), news.jobs, KEYED_MAX.jobs),
    counts: news.counts,
    insight: news.capture_to_insight_ms,
  };
}
