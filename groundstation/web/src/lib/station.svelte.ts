// The station as the page knows it: one live stream, one contact plan, one clock.

import { merge, type Model } from './merge';
import { readPlan, type Plan } from './plan';
import type { PlanFile, Snapshot } from './types';

const PLAN_EVERY_MS = 20_000;
const CLOCK_EVERY_MS = 250;
/** The station says something every second; after this long it is not heard. */
const SILENT_AFTER_MS = 4_000;
const RETRY_MS = 2_000;

class StationState {
  /** Replaced at each change; panels read it and nothing else. */
  model = $state.raw<Model | null>(null);
  plan = $state.raw<Plan | null>(null);
  planError = $state<string | null>(null);
  /** The station's clock, simulated in a demo. */
  now = $state(0);
  /** Since when nothing was heard, by the station's clock. */
  silentSince = $state<number | null>(null);

  #source: EventSource | null = null;
  #heard = { stationMs: 0, localMs: -Infinity };
  #linkOpen = false;

  start(): () => void {
    this.#listen();
    void this.#fetchPlan();
    const timers = [
      setInterval(() => this.#tick(), CLOCK_EVERY_MS),
      setInterval(() => void this.#fetchPlan(), PLAN_EVERY_MS),
    ];
    return () => {
      timers.forEach(clearInterval);
      this.#source?.close();
    };
  }

  #listen(): void {
    const source = new EventSource('/api/v1/live');
    this.#source = source;
    const take = (event: MessageEvent<string>) => {
      const news = JSON.parse(event.data) as Snapshot;
      this.#hear(news.now_ms);
      this.model = merge(this.model, news);
      const open = news.spacecraft.some((craft) => craft.link?.open);
      if (open !== this.#linkOpen) void this.#fetchPlan();
      this.#linkOpen = open;
    };
    source.addEventListener('snapshot', take);
    source.addEventListener('change', take);
    source.addEventListener('tick', (event: MessageEvent<string>) => {
      this.#hear((JSON.parse(event.data) as { now_ms: number }).now_ms);
    });
    source.onerror = () => {
      // A browser tries again by itself unless the answer was an error.
      if (source.readyState === EventSource.CLOSED) setTimeout(() => this.#listen(), RETRY_MS);
    };
  }

  #hear(stationMs: number): void {
    this.#heard = { stationMs, localMs: performance.now() };
    this.silentSince = null;
    this.now = stationMs;
  }

  #tick(): void {
    const silence = performance.now() - this.#heard.localMs;
    if (!Number.isFinite(silence)) return;
    this.now = this.#heard.stationMs + silence;
    if (silence > SILENT_AFTER_MS) this.silentSince = this.#heard.stationMs;
  }

  async #fetchPlan(): Promise<void> {
    try {
      const answer = await fetch('/api/v1/contacts');
      const content: unknown = await answer.json();
      if (!answer.ok) throw new Error((content as { error?: string }).error ?? answer.statusText);
      this.plan = readPlan(content as PlanFile);
      this.planError = null;
    } catch (error) {
      // A station that is not heard says so elsewhere; the plan known before stays.
      if (error instanceof TypeError) return;
      this.planError = error instanceof Error ? error.message : String(error);
    }
  }
}

export const station = new StationState();
