// The page's arithmetic: `npm test`. Modules are loaded through Vite, as the page loads them.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createServer } from 'vite';

let server;
let geo, format, merging, plans;

before(async () => {
  server = await createServer({
    root: new URL('..', import.meta.url).pathname,
    server: { middlewareMode: true, hmr: false, ws: false },
    appType: 'custom',
    logLevel: 'error',
  });
  const load = (name) => server.ssrLoadModule(`/src/lib/${name}.ts`);
  [geo, format, merging, plans] = await Promise.all(['geo', 'format', 'merge', 'plan'].map(load));
});
after(() => server.close());

const near = (value, truth, within) =>
  assert.ok(Math.abs(value - truth) <= within, `${value} is not ${truth} ± ${within}`);

describe('maps', () => {
  test('Equal Earth keeps areas: a cell near the pole is as large as it is on the sphere', () => {
    const cell = (lat) => {
      const [[x0, y0], [x1], [, y1]] = [
        [0, lat],
        [0.1, lat],
        [0, lat + 0.1],
      ].map(geo.equalEarth);
      return ((x1 - x0) * (y1 - y0)) / Math.cos(((lat + 0.05) * Math.PI) / 180);
    };
    for (const lat of [20, 40, 60, 80]) near(cell(lat) / cell(0), 1, 0.01);
  });

  test('Equal Earth has the published extent', () => {
    near(geo.EQUAL_EARTH_WIDTH / 2, 2.7066, 0.0002);
    near(geo.EQUAL_EARTH_HEIGHT / 2, 1.3173, 0.0002);
  });

  test('the Sun stands over the tropic at solstice and over Greenwich near noon', () => {
    const [lon, lat] = geo.subsolar(Date.UTC(2026, 5, 21, 12, 0, 0));
    near(lat, 23.44, 0.02);
    near(lon, 0.5, 0.5);
    near(geo.subsolar(Date.UTC(2026, 8, 23, 0, 5, 0))[1], 0, 0.05);
  });

  test('a circle around a pole is closed along the edge of the map', () => {
    const outline = geo.cap([15, 78], 20);
    assert.ok(outline.some(([, lat]) => lat === 90));
    const open = geo.cap([15, 10], 20);
    assert.ok(open.every(([, lat]) => Math.abs(lat) < 31));
  });

  test('every point of a circle is as far from its centre', () => {
    for (const point of geo.circle([170, 60], 25, 36)) {
      near(geo.distance(point, [170, 60]), 25, 1e-6);
    }
  });

  test('lines run on over the date line', () => {
    const line = geo.unwrap([
      [170, 0],
      [-170, 0],
      [-150, 0],
    ]);
    assert.deepEqual(
      line.map(([lon]) => lon),
      [170, 190, 210],
    );
  });

  test('height and reach agree with the geometry of a pass overhead', () => {
    near(geo.altitude(90, 520), 520, 0.01);
    near(geo.reach(520, 0), 22.41, 0.05);
  });
});

describe('numbers', () => {
  test('units are always there and steps are clean', () => {
    assert.equal(format.bytes(0), '0 B');
    assert.equal(format.bytes(999), '999 B');
    assert.equal(format.bytes(999_900), '1.00 MB');
    assert.equal(format.rate(13_900_000), '13.9 Mbit/s');
    assert.equal(format.duration(0.25), '0.25 ms');
    assert.equal(format.duration(1080), '1.08 s');
    assert.equal(format.duration(200_000), '3 min 20 s');
  });

  test('what is not whole is never rounded up to it', () => {
    assert.equal(format.percent(999_999, 1_000_000), '99.999 %');
    assert.equal(format.percent(10, 10), '100.000 %');
    assert.equal(format.percent(0, 0), '–');
  });

  test('spans read as clocks, then as hours', () => {
    assert.equal(format.span(252_000), '4:12');
    assert.equal(format.span(59_600), '1:00');
    assert.equal(format.span(4_920_000), '1 h 22 min');
    assert.equal(format.span(-5), '0:00');
  });

  test('names of parameters become words', () => {
    assert.equal(format.words('EPS_BATTERY_VOLTAGE'), 'EPS battery voltage');
    assert.equal(format.words('WHEEL_3_SPEED'), 'Wheel 3 speed');
  });
});

describe('changes', () => {
  const base = () => ({
    now_ms: 0,
    full: true,
    revision: 1,
    spacecraft: [],
    alarms: [],
    products: [],
    jobs: [],
    counts: { packets: 0 },
    capture_to_insight_ms: { count: 0, p50: null, p99: null },
  });
  const craft = (points, buckets) => ({
    id: 7,
    link_samples: [],
    channels: [{ id: 'a:vc:00', buckets }],
    parameters: [{ name: 'A', points }],
  });

  test('a change that comes twice, late or in parts gives what the snapshot would', () => {
    let model = merging.merge(null, { ...base(), spacecraft: [craft([[1000, 1, 1, 1, 0]], [])] });
    const change = {
      ...base(),
      full: false,
      revision: 2,
      spacecraft: [
        craft(
          [
            [1000, 1, 5, 5, 1],
            [3000, 2, 2, 2, 0],
          ],
          [[500, 1, 0, 0, 0]],
        ),
      ],
    };
    model = merging.merge(model, change);
    model = merging.merge(model, change);
    const late = [craft([[2000, 9, 9, 9, 0]], [[0, 2, 0, 0, 0]])];
    model = merging.merge(model, { ...change, revision: 3, spacecraft: late });
    const seven = model.crafts.get(7);
    assert.deepEqual(
      seven.parameters.get('A').points.map((point) => [point[0], point[3]]),
      [
        [1000, 5],
        [2000, 9],
        [3000, 2],
      ],
    );
    assert.deepEqual(
      seven.channels[0].buckets.map((bucket) => bucket[0]),
      [0, 500],
    );
  });

  test('a full snapshot forgets what was known, as after a restart of the station', () => {
    const job = { id: 'j', state: 'done' };
    let model = merging.merge(null, { ...base(), jobs: [job] });
    assert.equal(model.jobs.size, 1);
    model = merging.merge(model, base());
    assert.equal(model.jobs.size, 0);
  });

  test('histories stay bounded', () => {
    const rows = [];
    merging.upsert(
      rows,
      Array.from({ length: 50 }, (_, t) => [t]),
      (row) => row[0],
      20,
    );
    assert.deepEqual([rows.length, rows[0][0]], [20, 30]);
  });
});

describe('the plan', () => {
  const file = {
    station: { name: 'Svalbard', lat: 78, lon: 15, height_m: 0, mask_deg: 5 },
    contacts: [
      {
        rise: '2026-11-23T02:00:00Z',
        culmination: '2026-11-23T02:05:00Z',
        set: '2026-11-23T02:10:00Z',
        max_elevation_deg: 40,
      },
      {
        rise: '2026-11-23T00:00:00Z',
        culmination: '2026-11-23T00:05:00Z',
        set: '2026-11-23T00:10:00Z',
        max_elevation_deg: 20,
      },
    ],
    track: [
      { t: '2026-11-23T00:00:00Z', lat: 0, lon: 179 },
      { t: '2026-11-23T00:00:30Z', lat: 0, lon: -179 },
    ],
  };

  test('tells the contact now, next and last', () => {
    const plan = plans.readPlan(file);
    const at = (text) => Date.parse(`2026-11-23T${text}Z`);
    assert.equal(plans.contactAt(plan, at('00:05:00')).maxElevationDeg, 20);
    assert.equal(plans.contactAt(plan, at('01:00:00')), null);
    assert.equal(plans.nextContact(plan, at('01:00:00')).maxElevationDeg, 40);
    assert.equal(plans.lastContact(plan, at('01:00:00')).maxElevationDeg, 20);
    assert.equal(plans.nextContact(plan, at('03:00:00')), null);
  });

  test('a place between two points lies on the short way over the date line', () => {
    const place = plans.placeAt(plans.readPlan(file), Date.parse('2026-11-23T00:00:15Z'));
    near(Math.abs(place[0]), 180, 1e-6);
    assert.equal(plans.placeAt(plans.readPlan(file), 0), null);
  });

  test('an empty or odd plan is no plan and no error', () => {
    const plan = plans.readPlan({ station: null, contacts: [{ rise: 'x', set: 'y' }] });
    assert.deepEqual([plan.contacts, plan.track, plan.link, plan.altitudeKm], [[], [], [], null]);
  });
});
