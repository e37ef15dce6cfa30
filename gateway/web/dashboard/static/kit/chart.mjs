/** Charts, drawn as SVG as wide as there is room. What they show stands in a table as well. */

import { svg, el } from './dom.mjs';

const HEIGHT = 180;
const BELOW = 22;
const ABOVE = 12;

/** Pixels of a letter beside the lines. */
const LETTER = 7;

/** Pixels that a word below a column needs. */
const WORD = 56;

/** One column: parts from below. @typedef {{name: string, told: string, parts: number[]}} Column */

/**
 * Columns side by side, such as days.
 *
 * @param {string} title what the chart shows, for those who do not see it
 * @param {Column[]} columns
 * @param {(value: number) => string} words
 * @param {string[]} [legend] what the parts are
 */
export function columns(title, columns, words, legend = []) {
  const told = el('p', { class: 'chart-told', 'aria-hidden': 'true' });
  const names = legend.map((name, at) => el('span', { class: `legend legend-${at}` }, name));
  const point = (each) => told.replaceChildren(...(each ? [each.told] : names));
  const room = el('div', { class: 'chart-room' });
  const marks = scale(columns, words);
  const draw = (width) => room.replaceChildren(drawn(title, columns, marks, width, point));
  point(null);
  draw(640);
  new ResizeObserver(([{ contentRect }]) => contentRect.width && draw(contentRect.width)).observe(room);
  return el('figure', { class: 'chart' }, told, room);
}

/** Where lines go across, with their words. Half a call is none, so its line says nothing. */
function scale(columns, words) {
  const top = nice(Math.max(0, ...columns.map(whole)));
  return [0, top / 2, top].map((value) => ({ value, top, words: words(value) }));
}

function drawn(title, columns, marks, width, point) {
  const left = 10 + LETTER * Math.max(...marks.map(({ words }) => words.length));
  const step = (width - left) / Math.max(1, columns.length);
  const every = Math.ceil(WORD / step);
  const made = svg(
    'svg',
    { width, height: HEIGHT, role: 'img', 'aria-label': title, onpointerleave: () => point(null) },
    marks.map((mark) => line(mark, left, width)),
  );
  columns.forEach((each, at) => {
    const x = left + at * step;
    made.append(
      svg(
        'g',
        { class: 'column', onpointerenter: () => point(each) },
        svg('rect', { class: 'reach', x, y: 0, width: step, height: HEIGHT }),
        stacked(each, marks[0].top, x, step),
        at % every === 0 && svg('text', { x: x + step / 2, y: HEIGHT - 6, 'text-anchor': 'middle' }, each.name),
      ),
    );
  });
  return made;
}

function line({ value, top, words }, left, width) {
  const y = yOf(value, top);
  return [
    svg('line', { class: 'line', x1: left, x2: width, y1: y, y2: y }),
    svg('text', { x: left - 6, y: y + 4, 'text-anchor': 'end' }, words),
  ];
}

function stacked({ parts }, top, x, step) {
  const gap = Math.min(6, step * 0.2);
  let below = 0;
  return parts.map((part, at) => {
    const [from, to] = [yOf(below, top), yOf((below += part), top)];
    const place = { x: x + gap / 2, y: to, width: Math.max(1, step - gap), height: Math.max(1, from - to) };
    return part > 0 && svg('rect', { class: `part part-${at}`, rx: 2, ...place });
  });
}

const whole = ({ parts }) => parts.reduce((sum, part) => sum + part, 0);

const yOf = (value, top) => ABOVE + (HEIGHT - ABOVE - BELOW) * (1 - (top ? value / top : 0));

/** The next round number: one digit, and noughts. @param {number} value */
export function nice(value) {
  if (value <= 0) return 1;
  const size = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 3, 4, 5, 6, 8, 10].map((step) => step * size).find((step) => step >= value * 0.999) ?? value;
}

/**
 * Bars one below the other, such as keys.
 *
 * @param {string} title
 * @param {{name: string, told: string, value: number}[]} rows
 */
export function ranking(title, rows) {
  const most = Math.max(0, ...rows.map(({ value }) => value)) || 1;
  return el(
    'ol',
    { class: 'ranking', 'aria-label': title },
    rows.map(({ name, told, value }) =>
      el(
        'li',
        {},
        el('span', { class: 'ranking-name' }, name),
        svg(
          'svg',
          { 'aria-hidden': 'true' },
          svg('rect', {
            class: 'part part-0',
            width: `${Math.max(0.5, (100 * value) / most)}%`,
            height: '100%',
            rx: 2,
          }),
        ),
        el('span', { class: 'ranking-told' }, told),
      ),
    ),
  );
}
