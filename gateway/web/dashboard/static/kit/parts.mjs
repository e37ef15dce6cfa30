/** The small things that every view is made of. */

import { el, svg } from './dom.mjs';
import { ago, moment } from './format.mjs';

/** @typedef {import('./dom.mjs').Child} Child */
/** How something is, told by its colour and always by its words as well. @typedef {'good' | 'bad' | 'warn' | 'plain'} Mood */

/** @param {Mood} mood @param {...Child} words */
export const badge = (mood, ...words) => el('span', { class: `badge ${mood}` }, words);

/** A moment: how long ago, and exactly when one looks closer. @param {string | null} iso */
export function when(iso) {
  if (!iso) return '–';
  return el('time', { datetime: iso, title: moment(iso) }, ago(iso, Date.now()));
}

/** A moment, exactly; of today without its day. @param {string} iso */
export function exactly(iso) {
  const [day, time] = moment(iso).split(' ');
  const today = moment(new Date().toISOString()).startsWith(day);
  return el('time', { datetime: iso, title: ago(iso, Date.now()) }, today ? time : `${day} ${time}`);
}

/** @param {string} words @param {(event: any) => void} act @param {Record<string, any>} [attributes] */
export const button = (words, act, attributes = {}) =>
  el('button', { type: 'button', onclick: act, ...attributes }, words);

/**
 * A button whose work takes a moment: it cannot be pressed again meanwhile, and says so.
 *
 * @param {string} words
 * @param {() => Promise<void>} work
 * @param {Record<string, any>} [attributes]
 */
export function worker(words, work, attributes = {}) {
  const made = button(words, () => busy(made, work), attributes);
  return made;
}

/** @param {HTMLButtonElement} pressed @param {() => Promise<void>} work */
export async function busy(pressed, work) {
  if (pressed.getAttribute('aria-disabled')) return;
  pressed.setAttribute('aria-disabled', 'true');
  try {
    await work();
  } finally {
    pressed.removeAttribute('aria-disabled');
  }
}

/** A part of the page with its own heading. @param {string} title @param {...Child} children */
export const panel = (title, ...children) => el('section', { class: 'panel' }, el('h2', {}, title), children);

/** What is said where there is nothing else. @param {...Child} words */
export const nothing = (...words) => el('p', { class: 'nothing' }, words);

/** What went wrong. @param {Error} error */
export const trouble = (error) => el('p', { class: 'trouble', role: 'alert' }, error.message);

/** Facts by name. @param {[string, Child][]} pairs */
export const facts = (pairs) =>
  el(
    'dl',
    { class: 'facts' },
    pairs.map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value))),
  );

/** Names, each in its own little box. @param {string[]} names @param {string} [otherwise] said where there are none */
export function chips(names, otherwise = '–') {
  if (!names.length) return el('span', { class: 'faint' }, otherwise);
  const some = names.slice(0, 6).map((name) => el('code', { class: 'chip' }, name));
  const more = names.length - some.length;
  return el(
    'span',
    { class: 'chips' },
    some,
    more > 0 && el('span', { class: 'faint', title: names.join(', ') }, `and ${more} more`),
  );
}

/**
 * How much of something is used.
 *
 * @param {string} words
 * @param {number | null} share null where nobody knows
 * @param {string} [more]
 */
export function gauge(words, share, more = '') {
  const width = Math.min(100, Math.max(0, (share ?? 0) * 100));
  const mood = width >= 100 ? 'bad' : width >= 80 ? 'warn' : 'good';
  return el(
    'div',
    { class: 'gauge' },
    el('span', { class: 'gauge-words' }, el('span', {}, `${words} `), more && el('span', { class: 'faint' }, more)),
    share !== null &&
      svg(
        'svg',
        { class: `meter ${mood}`, role: 'img', 'aria-label': `${Math.round(width)} % used` },
        svg('rect', { class: 'meter-all', width: '100%', height: '100%', rx: 3 }),
        svg('rect', { class: 'meter-used', width: `${width}%`, height: '100%', rx: 3 }),
      ),
  );
}

/** A figure with its name. @param {string} name @param {Child} figure @param {Child} [more] */
export const tile = (name, figure, more = '') =>
  el(
    'div',
    { class: 'tile' },
    el('h2', {}, name),
    el('p', { class: 'figure' }, figure),
    el('p', { class: 'faint' }, more),
  );

/** Where something is declared, if that is where it has to be changed. @param {string} declared */
export const place = (declared) =>
  declared !== 'database' &&
  el(
    'span',
    { class: 'place', title: `${declared}: change it there` },
    'in ',
    el('code', {}, declared.split('/').pop()),
  );
