/** What the API tells, in the shape that views draw. Pure. */

import { dollars, short, span } from './format.mjs';

const DAY = 86_400_000;
const HOUR = 3_600_000;

/** How the API calls limits, and people do. */
export const LIMITS = {
  requests_per_minute: 'requests/min',
  tokens_per_minute: 'tokens/min',
  concurrent_requests: 'at once',
};

const NOTHING = { calls: 0, errors: 0, input_tokens: 0, output_tokens: 0, cost_micros: 0, cost_usd: '0.000000' };

/**
 * The lines of a time in which every day, or hour, has one: those without calls are not in the ledger.
 *
 * @param {any[]} lines
 * @param {'day' | 'hour'} by
 * @param {number} since milliseconds since 1970
 * @param {number} until
 */
export function everyOne(lines, by, since, until) {
  const length = by === 'day' ? DAY : HOUR;
  const known = new Map(lines.map((line) => [Date.parse(line[by]), line]));
  const found = [];
  for (let at = Math.floor(since / length) * length; at < until; at += length) {
    found.push(known.get(at) ?? { ...NOTHING, [by]: new Date(at).toISOString() });
  }
  return found;
}

/** 21 Nov, or 14:00, in UTC as the ledger has it. @param {string} iso @param {'day' | 'hour'} by */
export function slot(iso, by) {
  const told =
    by === 'day' ? { day: 'numeric', month: 'short' } : { hour: '2-digit', minute: '2-digit', hour12: false };
  return new Intl.DateTimeFormat('en-GB', { ...told, timeZone: 'UTC' }).format(Date.parse(iso));
}

/**
 * The largest, and one for all others, so that a chart of thousands can be read.
 *
 * @template T
 * @param {T[]} rows
 * @param {(row: T) => number} value
 * @param {number} most
 * @returns {{rows: T[], others: number, othersValue: number}}
 */
export function largest(rows, value, most) {
  const sorted = [...rows].sort((one, other) => value(other) - value(one));
  const rest = sorted.slice(most);
  return {
    rows: sorted.slice(0, most),
    others: rest.length,
    othersValue: rest.reduce((sum, row) => sum + value(row), 0),
  };
}

/** A target that calls avoid now. @typedef {{model: string, provider: string, target: string, state: any}} Ill */

/** @param {any[]} models @returns {Ill[]} each target once, with the first model that leads there */
export function ill(models) {
  const found = new Map();
  for (const model of models) {
    for (const { provider, model: target, state } of model.targets) {
      const place = JSON.stringify([provider, target]);
      if (state.standing !== 'ready' && !found.has(place))
        found.set(place, { model: model.name, provider, target, state });
    }
  }
  return [...found.values()];
}

/** As the API has it, for people. @param {string | null} word */
export const plain = (word) => (word ?? '').replaceAll('_', ' ');

/** @param {{standing: string, seconds: number}} state */
export function standing({ standing: now, seconds }) {
  if (now === 'ready') return 'ready';
  return `${now.replace('_', ' ')}${seconds > 0 ? ` for ${span(seconds)}` : ''}`;
}

/** One budget of a key. @typedef {{words: string, share: number | null, resets: string}} Bar */

/** @param {any} key @param {number} now milliseconds since 1970 @returns {Bar[]} */
export function bars(key, now) {
  const { budget, budget_used: used } = key;
  if (!budget) return [];
  const resets = used ? `resets in ${span((Date.parse(used.resets) - now) / 1000)}` : '';
  const found = [];
  if (budget.usd !== undefined) found.push(bar(dollars, used && Number(used.usd), budget.usd, budget.every, resets));
  if (budget.tokens !== undefined) found.push(bar(short, used?.tokens, budget.tokens, budget.every, resets, ' tokens'));
  return found;
}

function bar(words, used, most, every, resets, unit = '') {
  const whole = `${words(most)}${unit} a ${every}`;
  if (used === null || used === undefined) return { words: whole, share: null, resets };
  return { words: `${words(used)} of ${whole}`, share: most ? used / most : 1, resets };
}

/** @param {Record<string, number>} limits @returns {string[]} */
export const limitWords = (limits) =>
  Object.entries(limits ?? {}).map(([name, most]) => `${short(most)} ${LIMITS[name] ?? name}`);

/** US dollars per million tokens. @param {any} price */
export function priceWords(price) {
  if (!price) return 'no price';
  const told = [`${dollars(price.input)} in`, `${dollars(price.output)} out`];
  return told.join(', ');
}

/**
 * Each target's part of the calls of its model.
 *
 * @param {{weight: number}[]} targets
 * @returns {number[]}
 */
export function shares(targets) {
  const whole = targets.reduce((sum, { weight }) => sum + weight, 0);
  return targets.map(({ weight }) => (whole ? weight / whole : 0));
}

/**
 * `{'limits.requests_per_minute': '60'}` as an object of objects. What is empty is left out.
 *
 * @param {Record<string, any>} values
 * @returns {Record<string, any>}
 */
export function nested(values) {
  const found = {};
  for (const [name, value] of Object.entries(values)) {
    if (value === '' || value === null || value === undefined) continue;
    const steps = name.split('.');
    const last = steps.pop();
    steps.reduce((at, step) => (at[step] ??= {}), found)[last] = value;
  }
  return found;
}

/**
 * What turns one object into another, as RFC 7396 has it. Whatever can be told apart only by its spelling is the same:
 * a form holds text where the API has numbers.
 *
 * @param {Record<string, any>} before
 * @param {Record<string, any>} after
 * @returns {Record<string, any>}
 */
export function patch(before, after) {
  const found = {};
  for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const [was, is] = [before[name] ?? null, after[name] ?? null];
    if (isObject(was) && isObject(is)) {
      const inner = patch(was, is);
      if (Object.keys(inner).length) found[name] = inner;
    } else if (spelt(was) !== spelt(is)) {
      found[name] = is;
    }
  }
  return found;
}

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
const spelt = (value) => (value !== null && typeof value === 'object' ? JSON.stringify(value) : String(value));

/** Lines, or words with commas between them. @param {string} text */
export const listed = (text) =>
  text
    .split(/[\n,]/)
    .map((each) => each.trim())
    .filter(Boolean);

/** One change of the audit log, in words. @param {{field: string, before: any, after: any}} change */
export function changeWords({ field, before, after }) {
  if (before === null) return `${field}: ${valueWords(after)}`;
  return `${field}: ${valueWords(before)} → ${after === null ? 'nothing' : valueWords(after)}`;
}

function valueWords(value) {
  const told = typeof value === 'string' ? value : JSON.stringify(value);
  return told.length > 120 ? `${told.slice(0, 119)}…` : told;
}
