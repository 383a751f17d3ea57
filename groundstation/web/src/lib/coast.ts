// Coastlines: Natural Earth (public domain) as world-atlas packs it.

import { feature } from 'topojson-client';
import type { GeometryCollection, Topology } from 'topojson-specification';
import coarse from 'world-atlas/land-110m.json';
import { densify, equalEarth, path, type LonLat } from './geo';

export type Ring = LonLat[];

function rings(file: unknown): Ring[] {
  const topology = file as Topology<{ land: GeometryCollection }>;
  return feature(topology, topology.objects.land).features.flatMap(({ geometry }) => {
    if (geometry.type === 'Polygon') return geometry.coordinates as unknown as Ring[];
    if (geometry.type === 'MultiPolygon') return geometry.coordinates.flat() as unknown as Ring[];
    return [];
  });
}

/** The whole Earth's land in Equal Earth. */
export function worldLand(scale: number): string {
  const project = (place: LonLat) => {
    const [x, y] = equalEarth(place);
    return [x * scale, -y * scale] as const;
  };
  return rings(coarse)
    .map((ring) => path(densify(ring), project, { close: true, turns: [0] }))
    .join('');
}

/** Finer rings, fetched when the inset is first drawn. */
export async function fineRings(): Promise<Ring[]> {
  const file = await import('world-atlas/land-50m.json');
  return rings(file.default);
}
