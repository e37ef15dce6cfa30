/** Numbers and times for people. Pure: the time is an argument, in milliseconds since 1970. */

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Beyond this a date says more than how long ago it was. */
const FAR = 60 * DAY;

const WHOLE = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
const CENTS = new Intl.NumberFormat('en', { minimumFractionDigits: 2, maximumFractionDigits: 2 });

/** 12,345. @param {number | null | undefined} value */
export const count = (value) => (value === null || value === undefined ? '–' : WHOLE.format(value));

/** 12.3K. @param {number} value */
export const short = (value) => SHORT.format(value);

/** The same for what there are no halves of. @param {number} value */
export const shortWhole = (value) => (value >= 1000 || Number.isInteger(value) ? short(value) : '');

/**
 * US dollars, as many digits as tell something: $1,234.50, $0.0042.
 *
 * @param {string | number | null | undefined} value null where no price is known
 */
export function dollars(value) {
  if (value === null || value === undefined) return 'no price';
  const amount = Number(value);
  if (amount === 0 || amount >= 1) return `$${CENTS.format(amount)}`;
  return `$${amount.toFixed(Math.min(6, 1 - Math.floor(Math.log10(amount)))).replace(/(\.\d\d\d*?)0+$/, '$1')}`;
}

/** 840 ms, 2.4 s, 3 min. @param {number | null | undefined} value milliseconds */
export function took(value) {
  if (value === null || value === undefined) return '–';
  if (value < 10) return `${value.toFixed(1)} ms`;
  if (value < 1000) return `${Math.round(value)} ms`;
  return value < 60_000 ? `${(value / 1000).toFixed(1)} s` : span(value / 1000);
}

/** 45 s, 12 min, 5 h 10 min, 3 days. @param {number} seconds */
export function span(seconds) {
  if (seconds < MINUTE) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < HOUR) return `${Math.round(seconds / MINUTE)} min`;
  if (seconds < DAY) {
    const minutes = Math.floor((seconds % HOUR) / MINUTE);
    return `${Math.floor(seconds / HOUR)} h${minutes ? ` ${minutes} min` : ''}`;
  }
  const days = Math.floor(seconds / DAY);
  return days === 1 ? '1 day' : `${days} days`;
}

/** 5 min ago, in 3 days, on 2027-01-31. @param {string} iso @param {number} now */
export function ago(iso, now) {
  const seconds = (now - Date.parse(iso)) / 1000;
  if (Math.abs(seconds) > FAR) return `on ${moment(iso).slice(0, 10)}`;
  if (seconds < -1) return `in ${span(-seconds)}`;
  return seconds < 5 ? 'just now' : `${span(seconds)} ago`;
}

/** In the time of whoever reads it: 2026-05-01 14:03:07. @param {string} iso */
export function moment(iso) {
  const when = new Date(iso);
  const two = (part) => String(part).padStart(2, '0');
  const day = `${when.getFullYear()}-${two(when.getMonth() + 1)}-${two(when.getDate())}`;
  return `${day} ${two(when.getHours())}:${two(when.getMinutes())}:${two(when.getSeconds())}`;
}

/** 12 %. @param {number} part @param {number} whole */
export function share(part, whole) {
  if (!whole || !part) return '0 %';
  const found = (100 * part) / whole;
  return `${found < 10 ? Number(found.toFixed(1)) || '< 0.1' : Math.round(found)} %`;
}

/** 1 call, 2 calls. @param {number} many @param {string} what */
export const some = (many, what) => `${count(many)} ${what}${many === 1 ? '' : 's'}`;
