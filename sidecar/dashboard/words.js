// Numbers, sizes and times as people read them. What is not known is a dash, never a zero.

export const UNKNOWN = "–";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { year: "numeric", month: "short", day: "numeric" });

const known = (value) => value !== undefined && value !== null && !Number.isNaN(value);

export function count(value) {
  return known(value) ? whole.format(value) : UNKNOWN;
}

export function rate(value) {
  if (!known(value)) return UNKNOWN;
  return value > 0 && value < 10 ? value.toFixed(1) : whole.format(value);
}

export function bytes(value) {
  if (!known(value)) return UNKNOWN;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? whole.format(value) : value.toFixed(1)} ${units[unit]}`;
}

export function milliseconds(value) {
  if (!known(value)) return UNKNOWN;
  if (value < 0.1) return `${whole.format(value * 1000)} µs`;
  if (value < 1) return `${value.toFixed(2)} ms`;
  if (value < 10) return `${value.toFixed(1)} ms`;
  return value < 1000 ? `${whole.format(value)} ms` : `${(value / 1000).toFixed(1)} s`;
}

export function ago(ms) {
  if (!known(ms)) return UNKNOWN;
  return ms < 1000 ? `${whole.format(ms)} ms ago` : `${duration(ms)} ago`;
}

export function duration(ms) {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const hours = Math.floor(seconds / 3600);
  return hours < 48 ? `${hours} h ${Math.floor((seconds % 3600) / 60)} min` : `${Math.floor(hours / 24)} d`;
}

// With the day, unless it is today.
export function time(date) {
  if (!(date instanceof Date)) date = known(date) ? new Date(date) : undefined;
  if (!date) return UNKNOWN;
  const today = date.toDateString() === new Date().toDateString();
  return today ? clock.format(date) : `${day.format(date)}, ${clock.format(date)}`;
}

export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

export const entries = (number) => plural(number, "entry", "entries");
