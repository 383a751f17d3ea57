// Coastlines: Natural Earth (public domain) as world-atlas packs it.

import { feature } from 'topojson-client';
import type { GeometryCollection, Topology } from 'topojson-specification';
import coarse from 'world-atlas/land-110m.json';
import { densify, equalEarth, path, unwrap, type LonLat } from './geo';

export type Ring = LonLat[];

function rings(file: unknown): Ring[] {
  const topology = file as Topology<{ land: GeometryCollection }>;
  return feature(topology, topology.objects.land).features.flatMap(({ geometry }) => {
    if (geometry.type === 'Polygon') return geometry.coordinates as unknown as Ring[];
    if (geometry.type === 'MultiPolygon') return geometry.coordinates.flat() as unknown as Ring[];
    return [];
  });
}

/** A ring without jumps; one around a pole goes down to the map's edge and back along it. */
function closed(ring: Ring): Ring {
  const line = unwrap(ring);
  const [first, last] = [line[0], line.at(-1)];
  if (!first || !last || Math.abs(last[0] - first[0]) < 180) return line;
  const pole = first[1] > 0 ? 90 : -90;
  return [...line, [last[0], pole], [first[0], pole], first];
}

/** The whole Earth's land in Equal Earth. */
export function worldLand(scale: number): string {
  const project = (place: LonLat) => {
    const [x, y] = equalEarth(place);
    return [x * scale, -y * scale] as const;
  };
  return rings(coarse)
    .map((ring) => {
      const whole = closed(ring);
      // Rings run on over ±180°: those are drawn a turn earlier and later too, and clipped.
      const over = whole.some(([lon]) => Math.abs(lon) > 180);
      const turns = over ? [-360, 0, 360] : [0];
      return path(densify(whole), project, { close: true, turns });
    })
    .join('');
}

/** Finer rings, fetched when the inset is first drawn. */
export async function fineRings(): Promise<Ring[]> {
  const file = await import('world-atlas/land-50m.json');
  return rings(file.default);
}
