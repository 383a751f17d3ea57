// Opens the page of a running daemon in a real browser, checks that it is alive and right, and
// writes a screenshot.
//
//   npm run test:browser -- http://127.0.0.1:7180 page.png [--size 1680x1050] [--hash '#w=15']

import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const WAIT_MS = 20_000;
const LIMIT_MS = 90_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    size: { type: 'string', default: '1680x1050' },
    hash: { type: 'string', default: '' },
    full: { type: 'boolean', default: false },
  },
});
const [url, out] = positionals;
const size = /^(\d+)x(\d+)$/.exec(values.size);
if (!url || !out || !size) {
  console.error('usage: npm run test:browser -- URL OUT.png [--size 1680x1050] [--hash #w=15]');
  process.exit(2);
}
const executablePath = [
  process.env.CHROMIUM,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
].find((path) => path && existsSync(path));
if (!executablePath) {
  console.error('no chromium found: install it (apt-get install chromium) or set CHROMIUM');
  process.exit(1);
}

const problems = [];
const check = (holds, what) => {
  if (!holds) problems.push(what);
};

// A page that hangs the browser is a finding, not a reason to wait for ever.
setTimeout(() => {
  console.error(`not right: no picture after ${LIMIT_MS / 1000} s`, problems.join('\n'));
  process.exit(1);
}, LIMIT_MS).unref();

const profile = mkdtempSync(join(tmpdir(), 'groundtrack-page-'));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath,
  args: FLAGS,
  viewport: { width: Number(size[1]), height: Number(size[2]) },
});
try {
  const page = await browser.newPage();
  const origin = new URL(url).origin;
  page.on('console', (message) => {
    if (message.type() === 'error') problems.push(`console: ${message.text()}`);
  });
  page.on('pageerror', (error) => problems.push(`page: ${error.message}`));
  page.on('request', (request) => {
    check(request.url().startsWith(origin), `a request left the station: ${request.url()}`);
  });
  page.on('response', (answer) => {
    check(answer.status() < 400, `${answer.status()} for ${answer.url()}`);
  });
  await page.goto(url + '/' + values.hash, { waitUntil: 'load' });
  await page.waitForSelector('[data-test=contact]', { timeout: WAIT_MS });

  const text = (selector) => page.locator(selector).first().innerText();
  const snapshot = async () => (await page.request.get(`${origin}/api/v1/snapshot`)).json();
  const wants = await snapshot();
  const craft = wants.spacecraft[0];

  // The clock is the station's, and runs.
  const before = await text('[data-test=clock] time');
  await page.waitForFunction(
    (old) => document.querySelector('[data-test=clock] time')?.textContent !== old,
    before,
    { timeout: WAIT_MS },
  );
  const shownMs = Date.parse(
    (await page.locator('[data-test=clock] time').getAttribute('datetime')) ?? '',
  );
  const stationMs = (await snapshot()).now_ms;
  check(Math.abs(shownMs - stationMs) < 5_000, `the clock is ${shownMs - stationMs} ms off`);

  // What the API tells stands on the page.
  if (craft) {
    check((await text('[data-test=contact]')).includes(craft.name), 'the spacecraft has no name');
    const rows = await page.locator('[data-test=frames] canvas').count();
    check(rows >= craft.channels.length, `${rows} rows for ${craft.channels.length} channels`);
    const valued = craft.parameters.filter((parameter) => parameter.t !== null);
    const plots = await page.locator('[data-test=parameters] article').count();
    check(plots >= valued.length, `${plots} plots for ${valued.length} parameters`);
  }
  const tiles = await page.locator('[data-test=products] li').count();
  check(tiles >= wants.products.length, `${tiles} of ${wants.products.length} products`);
  const broken = await page.locator('[data-test=products] img').evaluateAll(async (images) => {
    await Promise.all(images.slice(0, 6).map((image) => image.decode().catch(() => {})));
    return images.slice(0, 6).filter((image) => image.naturalWidth === 0).length;
  });
  check(broken === 0, `${broken} thumbnails can't be shown`);
  const jobs = await page.locator('[data-test=work] tbody tr').count();
  check(jobs >= wants.jobs.length, `${jobs} of ${wants.jobs.length} jobs`);

  // Nothing sticks out sideways, at this size.
  const wide = await page.evaluate(
    () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
  );
  check(wide <= 0, `the page is ${wide} px wider than the window`);

  // The moment can be moved with the keyboard and comes back.
  const plot = page.locator('[data-test=frames] [role=application]').first();
  if ((await plot.count()) > 0) {
    await plot.focus();
    await page.keyboard.press('ArrowLeft');
    check((await page.evaluate(() => location.hash)).includes('t='), 'the address holds no moment');
    await page.keyboard.press('Escape');
    check(
      (await page.evaluate(() => location.hash)) === values.hash,
      'Escape does not go back to now',
    );
    await plot.blur();
  }
  // Figures of a second or two more, and the fine coastline.
  await page.waitForFunction(
    (old) => document.querySelector('[data-test=clock] time')?.textContent !== old,
    await text('[data-test=clock] time'),
  );
  await page.waitForLoadState('load');
  await page.screenshot({ path: out, fullPage: values.full, timeout: WAIT_MS });
} catch (error) {
  problems.push(String(error));
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
if (problems.length > 0) {
  console.error(problems.map((problem) => `not right: ${problem}`).join('\n'));
  process.exit(1);
}
console.log(`the page at ${url} is alive; its picture is ${out}`);
