// What the operator looks at: one moment for all panels, kept in the address.

import { station } from './station.svelte';

export const WINDOWS_MIN = [3, 15] as const;
export type WindowMin = (typeof WINDOWS_MIN)[number];

class View {
  /** A moment that was clicked; none follows the clock. */
  pinned = $state<number | null>(null);
  /** A moment under the pointer. */
  hovered = $state<number | null>(null);
  windowMin = $state<WindowMin>(3);
  filter = $state('');

  /** The moment that panels show values of. */
  get at(): number {
    return this.hovered ?? this.pinned ?? station.now;
  }

  get live(): boolean {
    return this.hovered === null && this.pinned === null;
  }

  /** The moment to mark, where it is not now. */
  get mark(): number | null {
    return this.hovered ?? this.pinned;
  }

  pin(t: number | null): void {
    this.pinned = t;
    this.#write();
  }

  setWindow(minutes: WindowMin): void {
    this.windowMin = minutes;
    this.#write();
  }

  setFilter(text: string): void {
    this.filter = text;
    this.#write();
  }

  read(): void {
    const parts = new URLSearchParams(location.hash.slice(1));
    const t = Date.parse(parts.get('t') ?? '');
    this.pinned = Number.isFinite(t) ? t : null;
    const minutes = Number(parts.get('w'));
    this.windowMin = WINDOWS_MIN.find((choice) => choice === minutes) ?? 3;
    this.filter = parts.get('p') ?? '';
  }

  #write(): void {
    const parts = new URLSearchParams();
    if (this.pinned !== null) parts.set('t', new Date(this.pinned).toISOString());
    if (this.windowMin !== 3) parts.set('w', String(this.windowMin));
    if (this.filter !== '') parts.set('p', this.filter);
    const text = parts.toString().replaceAll('%3A', ':');
    history.replaceState(null, '', text ? `#${text}` : location.pathname);
  }
}

export const view = new View();

/** Moves the common moment with a pointer or the arrow keys over an element whose x is time. */
export function scrub(
  node: HTMLElement | SVGElement,
  options: { toTime: (share: number) => number; stepMs: number },
) {
  let current = options;
  const timeOf = (event: PointerEvent) => {
    const box = node.getBoundingClientRect();
    return current.toTime(Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
  };
  const move = (event: Event) => (view.hovered = timeOf(event as PointerEvent));
  const leave = () => (view.hovered = null);
  const press = (event: Event) => view.pin(timeOf(event as PointerEvent));
  const key = (event: Event) => {
    const { key: name, shiftKey } = event as KeyboardEvent;
    const step = current.stepMs * (shiftKey ? 10 : 1);
    const from = view.pinned ?? station.now;
    if (name === 'ArrowLeft') view.pin(from - step);
    else if (name === 'ArrowRight') view.pin(from + step);
    else if (name === 'Escape' || name === 'End') view.pin(null);
    else return;
    event.preventDefault();
  };
  const handlers: [string, (event: Event) => void][] = [
    ['pointermove', move],
    ['pointerleave', leave],
    ['click', press],
    ['keydown', key],
  ];
  handlers.forEach(([name, handler]) => node.addEventListener(name, handler));
  return {
    update: (next: typeof options) => (current = next),
    destroy: () => handlers.forEach(([name, handler]) => node.removeEventListener(name, handler)),
  };
}
