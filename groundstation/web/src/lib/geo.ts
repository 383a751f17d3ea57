// Maps and the sky, on a sphere: enough for a picture of the whole Earth (0.2° at most).

export type LonLat = readonly [number, number];
export type Point = readonly [number, number];

const RAD = Math.PI / 180;
export const EARTH_RADIUS_KM = 6371;

// Equal Earth (Šavrič, Patterson and Jenny, 2018): the polynomial's coefficients.
const A1 = 1.340264;
const A2 = -0.081106;
const A3 = 0.000893;
const A4 = 0.003796;
const ROOT3 = Math.sqrt(3);

/** Equal Earth; x within ±2.7066, y within ±1.3173. Longitudes beyond ±180° go on outside. */
export function equalEarth([lon, lat]: LonLat): Point {
  const theta = Math.asin((ROOT3 / 2) * Math.sin(lat * RAD));
  const t2 = theta * theta;
  const t6 = t2 * t2 * t2;
  const slope = A1 + 3 * A2 * t2 + t6 * (7 * A3 + 9 * A4 * t2);
  return [
    (2 * ROOT3 * lon * RAD * Math.cos(theta)) / (3 * slope),
    theta * (A1 + A2 * t2 + t6 * (A3 + A4 * t2)),
  ];
}

export const EQUAL_EARTH_WIDTH = 2 * equalEarth([180, 0])[0];
export const EQUAL_EARTH_HEIGHT = 2 * equalEarth([0, 90])[1];

/** Lambert's azimuthal equal-area around a centre; points of the far side are far away. */
export function azimuthal(centre: LonLat): (place: LonLat) => Point {
  const [sin0, cos0] = [Math.sin(centre[1] * RAD), Math.cos(centre[1] * RAD)];
  return ([lon, lat]) => {
    const [sin, cos] = [Math.sin(lat * RAD), Math.cos(lat * RAD)];
    const dLon = (lon - centre[0]) * RAD;
    const cosDistance = sin0 * sin + cos0 * cos * Math.cos(dLon);
    const scale = Math.sqrt(2 / Math.max(1e-9, 1 + cosDistance)) / RAD;
    return [scale * cos * Math.sin(dLon), scale * (cos0 * sin - sin0 * cos * Math.cos(dLon))];
  };
}

type Vector = readonly [number, number, number];

function toVector([lon, lat]: LonLat): Vector {
  const cos = Math.cos(lat * RAD);
  return [cos * Math.cos(lon * RAD), cos * Math.sin(lon * RAD), Math.sin(lat * RAD)];
}

function toLonLat([x, y, z]: Vector): LonLat {
  return [Math.atan2(y, x) / RAD, Math.atan2(z, Math.hypot(x, y)) / RAD];
}

/** Great-circle distance in degrees. */
export function distance(a: LonLat, b: LonLat): number {
  const [u, v] = [toVector(a), toVector(b)];
  const dot = u[0] * v[0] + u[1] * v[1] + u[2] * v[2];
  return Math.acos(Math.min(1, Math.max(-1, dot))) / RAD;
}

/** The place a share of the way along the great circle. */
export function between(a: LonLat, b: LonLat, share: number): LonLat {
  const angle = distance(a, b) * RAD;
  if (angle < 1e-9) return a;
  const [u, v] = [toVector(a), toVector(b)];
  const [p, q] = [
    Math.sin((1 - share) * angle) / Math.sin(angle),
    Math.sin(share * angle) / Math.sin(angle),
  ];
  return toLonLat([p * u[0] + q * v[0], p * u[1] + q * v[1], p * u[2] + q * v[2]]);
}

/** Points of a small circle around a centre, from north over east. */
export function circle([lon, lat]: LonLat, radius: number, steps = 180): LonLat[] {
  const [sin0, cos0] = [Math.sin(lat * RAD), Math.cos(lat * RAD)];
  const [sinR, cosR] = [Math.sin(radius * RAD), Math.cos(radius * RAD)];
  return Array.from({ length: steps + 1 }, (_, step) => {
    const bearing = (step / steps) * 2 * Math.PI;
    const sin = sin0 * cosR + cos0 * sinR * Math.cos(bearing);
    const dLon = Math.atan2(Math.sin(bearing) * sinR * cos0, cosR - sin0 * sin);
    return [lon + dLon / RAD, Math.asin(Math.min(1, Math.max(-1, sin))) / RAD];
  });
}

/** Makes longitudes run on over ±180° so that lines have no jumps. */
export function unwrap(line: readonly LonLat[]): LonLat[] {
  let before = 0;
  return line.map(([lon, lat], index) => {
    if (index > 0) lon -= 360 * Math.round((lon - before) / 360);
    before = lon;
    return [lon, lat];
  });
}

/** Splits long steps, so that straight edges follow the map's curves. */
export function densify(line: readonly LonLat[], step = 2): LonLat[] {
  const dense: LonLat[] = [];
  line.forEach((place, index) => {
    const next = line[index + 1];
    dense.push(place);
    if (!next) return;
    const parts = Math.ceil(
      Math.max(Math.abs(next[0] - place[0]), Math.abs(next[1] - place[1])) / step,
    );
    for (let part = 1; part < parts; part += 1) {
      const share = part / parts;
      dense.push([
        place[0] + (next[0] - place[0]) * share,
        place[1] + (next[1] - place[1]) * share,
      ]);
    }
  });
  return dense;
}

/** Outline of everything within `radius` of a centre, ready to be filled on a map cut at ±180°. */
export function cap(centre: LonLat, radius: number): LonLat[] {
  const edge = unwrap(circle(centre, radius));
  const [first, last] = [edge[0], edge[edge.length - 1]];
  if (!first || !last || Math.abs(last[0] - first[0]) < 180) return edge;
  // It holds a pole: down to the map's edge and back along it.
  const pole = distance(centre, [0, 90]) < radius ? 90 : -90;
  return [...edge, ...densify([last, [last[0], pole], [first[0], pole], first], 5)];
}

const format = (value: number) => value.toFixed(2);

/** An SVG path, drawn once a turn of the Earth; the caller clips to the globe's outline. */
export function path(
  line: readonly LonLat[],
  project: (place: LonLat) => Point,
  options: { close?: boolean; turns?: readonly number[] } = {},
): string {
  const turns = options.turns ?? [-360, 0, 360];
  const draw = (turn: number) => {
    const points = line.map(([lon, lat]) => project([lon + turn, lat]));
    if (points.length < 2) return '';
    const text = points.map(([x, y]) => `${format(x)},${format(y)}`).join('L');
    return `M${text}${options.close ? 'Z' : ''}`;
  };
  return turns.map(draw).join('');
}

/** Where the Sun stands overhead (Meeus, low precision: 0.01° within this century). */
export function subsolar(utcMs: number): LonLat {
  const days = utcMs / 86_400_000 + 2440587.5 - 2451545;
  const anomaly = (357.529 + 0.98560028 * days) * RAD;
  const mean = 280.459 + 0.98564736 * days;
  const ecliptic = (mean + 1.915 * Math.sin(anomaly) + 0.02 * Math.sin(2 * anomaly)) * RAD;
  const tilt = (23.439 - 0.00000036 * days) * RAD;
  const ascension = Math.atan2(Math.cos(tilt) * Math.sin(ecliptic), Math.cos(ecliptic)) / RAD;
  const declination = Math.asin(Math.sin(tilt) * Math.sin(ecliptic)) / RAD;
  const sidereal = 280.46061837 + 360.98564736629 * days;
  const lon = ((((ascension - sidereal + 180) % 360) + 360) % 360) - 180;
  return [lon, declination];
}

/** Earth-centred angle in degrees at which a satellite stands at an elevation. */
export function reach(altitudeKm: number, elevationDeg: number): number {
  const elevation = elevationDeg * RAD;
  const ratio = EARTH_RADIUS_KM / (EARTH_RADIUS_KM + altitudeKm);
  return (Math.acos(ratio * Math.cos(elevation)) - elevation) / RAD;
}

/** Height of a satellite seen at an elevation and a range. */
export function altitude(elevationDeg: number, rangeKm: number): number {
  const up = 2 * EARTH_RADIUS_KM * rangeKm * Math.sin(elevationDeg * RAD);
  return Math.sqrt(EARTH_RADIUS_KM ** 2 + rangeKm ** 2 + up) - EARTH_RADIUS_KM;
}
