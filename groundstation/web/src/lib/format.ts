// Numbers for people: always with their unit, always as wide as the one before.

const integers = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

export function integer(value: number): string {
  return integers.format(value);
}

/** Three significant digits, without exponents where people expect none. */
export function significant(exactly: number, digits = 3): string {
  const value = Number(exactly.toPrecision(digits));
  const size = Math.abs(value);
  if (size === 0) return '0';
  if (size >= 1e7 || size < 1e-4) return value.toExponential(digits - 1);
  if (size >= 10 ** digits) return integers.format(value);
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  return value.toFixed(Math.min(decimals, 6));
}

function scaled(value: number, units: readonly string[]): [string, string] {
  let size = Math.abs(value);
  let index = 0;
  while (size >= 999.5 && index < units.length - 1) {
    size /= 1000;
    index += 1;
  }
  const text = index === 0 ? integers.format(size) : significant(size);
  return [value < 0 ? `−${text}` : text, units[index] ?? ''];
}

const exact = new Intl.NumberFormat('en', { maximumFractionDigits: 6 });

/** A number that somebody chose, as they wrote it. */
export function chosen(value: number): string {
  return exact.format(value).replace('-', '−');
}

export function bytes(value: number): string {
  return scaled(value, ['B', 'kB', 'MB', 'GB', 'TB']).join(' ');
}

export function rate(bitsPerSecond: number): string {
  return scaled(bitsPerSecond, ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s']).join(' ');
}

/** A duration that counts down or up: 4:12, or 1 h 22 min where seconds don't matter. */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const [hours, minutes, rest] = [
    Math.floor(seconds / 3600),
    Math.floor(seconds / 60) % 60,
    seconds % 60,
  ];
  if (hours >= 48) return `${Math.floor(hours / 24)} d ${hours % 24} h`;
  if (hours > 0) return `${hours} h ${String(minutes).padStart(2, '0')} min`;
  return `${minutes}:${String(rest).padStart(2, '0')}`;
}

/** A measured duration: 12 ms, 1.42 s, 3 min 20 s. */
export function duration(ms: number): string {
  if (ms < 1) return `${significant(ms, 2)} ms`;
  if (ms < 999.5) return `${significant(ms)} ms`;
  if (ms < 99_950) return `${significant(ms / 1000)} s`;
  if (ms < 3_600_000) {
    const seconds = Math.round(ms / 1000);
    return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  }
  return span(ms);
}

export function clock(ms: number): string {
  return new Date(ms).toISOString().slice(11, 19);
}

export function clockShort(ms: number): string {
  return new Date(ms).toISOString().slice(11, 16);
}

export function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

/** A value of a parameter, with as many digits as tell it apart. */
export function reading(value: number): string {
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e6 || size < 1e-3)) return value.toExponential(2).replace('-', '−');
  const decimals = size >= 1000 ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : 3;
  const text = size >= 1000 ? integers.format(Math.round(value)) : value.toFixed(decimals);
  return text.replace('-', '−');
}

export function position(lat: number, lon: number): string {
  const part = (value: number, positive: string, negative: string) =>
    `${Math.abs(value).toFixed(1)}° ${value >= 0 ? positive : negative}`;
  return `${part(lat, 'N', 'S')} ${part(lon, 'E', 'W')}`;
}

/** EPS_BATTERY_VOLTAGE as people say it: EPS battery voltage. */
export function words(name: string): string {
  const parts = name.split('_').filter((part) => part.length > 0);
  return parts
    .map((part, index) => {
      // Subsystems keep their capitals; ordinary words lose them.
      if (index === 0 && part.length <= 4 && parts.length > 1) return part;
      return index === 0 ? part.charAt(0) + part.slice(1).toLowerCase() : part.toLowerCase();
    })
    .join(' ');
}

const UNITS: Record<string, string> = {
  degC: '°C',
  deg: '°',
  'deg/s': '°/s',
  uT: 'µT',
  us: 'µs',
  ohm: 'Ω',
};

/** A unit as it is printed, where a definition can only spell it. */
export function printed(unit: string): string {
  return UNITS[unit] ?? unit;
}

export function percent(part: number, whole: number): string {
  if (whole <= 0) return '–';
  const share = Math.min(1, part / whole);
  // Never rounded up to a promise: 99.9996 % is not 100 %.
  return `${(Math.floor(share * 100_000) / 1000).toFixed(3)} %`;
}
