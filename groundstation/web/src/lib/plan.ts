// The contact plan: times as numbers, and questions that panels ask of it.

import { altitude, between, type LonLat } from './geo';
import type { PlanFile, Station } from './types';

export interface Contact {
  rise: number;
  culmination: number;
  set: number;
  maxElevationDeg: number;
  rateBps: number | null;
}

export interface LinkPoint {
  t: number;
  elevationDeg: number;
  rangeKm: number;
  rttMs: number;
  rateBps: number;
}

export interface Plan {
  station: Station | null;
  satellite: string | null;
  contacts: Contact[];
  track: { t: number; place: LonLat }[];
  link: LinkPoint[];
  altitudeKm: number | null;
}

const known = (value: unknown): value is number => Number.isFinite(value);

export function readPlan(file: PlanFile): Plan {
  const contacts = (file.contacts ?? [])
    .map((contact) => ({
      rise: Date.parse(contact.rise),
      culmination: Date.parse(contact.culmination),
      set: Date.parse(contact.set),
      maxElevationDeg: contact.max_elevation_deg,
      rateBps: contact.rate_bps ?? null,
    }))
    .filter((contact) => known(contact.rise) && known(contact.set))
    .sort((a, b) => a.rise - b.rise);
  const track = (file.track ?? [])
    .map((point) => ({ t: Date.parse(point.t), place: [point.lon, point.lat] as const }))
    .filter((point) => known(point.t))
    .sort((a, b) => a.t - b.t);
  const link = (file.link ?? [])
    .map((point) => ({
      t: Date.parse(point.t),
      elevationDeg: point.elevation_deg,
      rangeKm: point.range_km,
      rttMs: point.rtt_ms,
      rateBps: point.rate_bps,
    }))
    .filter((point) => known(point.t))
    .sort((a, b) => a.t - b.t);
  const heights = link
    .map((point) => altitude(point.elevationDeg, point.rangeKm))
    .filter(known)
    .sort((a, b) => a - b);
  return {
    station: file.station ?? null,
    satellite: file.satellite ?? null,
    contacts,
    track,
    link,
    altitudeKm: heights[Math.floor(heights.length / 2)] ?? null,
  };
}

export function contactAt(plan: Plan, t: number): Contact | null {
  return plan.contacts.find((contact) => contact.rise <= t && t <= contact.set) ?? null;
}

export function nextContact(plan: Plan, t: number): Contact | null {
  return plan.contacts.find((contact) => contact.rise > t) ?? null;
}

export function lastContact(plan: Plan, t: number): Contact | null {
  return plan.contacts.filter((contact) => contact.set < t).at(-1) ?? null;
}

function around<T extends { t: number }>(points: readonly T[], t: number): [T, T, number] | null {
  const after = points.findIndex((point) => point.t >= t);
  const [a, b] = [points[after - 1], points[after]];
  if (b && b.t === t) return [b, b, 0];
  if (!a || !b) return null;
  return [a, b, (t - a.t) / (b.t - a.t)];
}

/** Where the spacecraft is below, by the plan. */
export function placeAt(plan: Plan, t: number): LonLat | null {
  const pair = around(plan.track, t);
  return pair && between(pair[0].place, pair[1].place, pair[2]);
}

/** What the link should be, by the plan. */
export function predictedAt(plan: Plan, t: number): LinkPoint | null {
  const pair = around(plan.link, t);
  if (!pair) return null;
  const [a, b, share] = pair;
  const mix = (from: number, to: number) => from + (to - from) * share;
  return {
    t,
    elevationDeg: mix(a.elevationDeg, b.elevationDeg),
    rangeKm: mix(a.rangeKm, b.rangeKm),
    rttMs: mix(a.rttMs, b.rttMs),
    rateBps: mix(a.rateBps, b.rateBps),
  };
}

/** The track between two instants, with points between so that it bends as an orbit does. */
export function trackBetween(plan: Plan, from: number, until: number): LonLat[] {
  const inside = plan.track.filter((point) => from < point.t && point.t < until);
  const ends = [placeAt(plan, from), placeAt(plan, until)];
  const places = [ends[0], ...inside.map((point) => point.place), ends[1]].filter(
    (place): place is LonLat => place !== null && place !== undefined,
  );
  return places.flatMap((place, index) => {
    const next = places[index + 1];
    if (!next) return [place];
    return [0, 0.25, 0.5, 0.75].map((share) => between(place, next, share));
  });
}
