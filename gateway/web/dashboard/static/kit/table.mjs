/** Tables: with a page of rows at a time, a filter where there are many, and details that open below a row. */

import { el } from './dom.mjs';
import { count } from './format.mjs';
import { button, nothing } from './parts.mjs';

/** Rows in one page. */
const PAGE = 50;

/** Rows from which on a filter helps. */
const MANY = 12;

/**
 * @template T
 * @typedef {{title: string, cell: (row: T) => import('./dom.mjs').Child, kind?: 'number' | 'actions' | 'name'}} Column
 */

/**
 * @template T
 * @typedef {object} Wishes
 * @property {string} [empty] said where there are no rows
 * @property {(row: T) => string} [text] what a row is found by
 * @property {(row: T) => import('./dom.mjs').Child} [detail] what opens below a row
 * @property {(row: T) => string} [name] what a row is called, for its detail's button
 * @property {number} [page] rows in one page
 */

/**
 * @template T
 * @param {string} caption
 * @param {Column<T>[]} columns
 * @param {T[]} rows
 * @param {Wishes<T>} [wishes]
 */
export function table(caption, columns, rows, wishes = {}) {
  const { empty = 'There are none.', text, page = PAGE } = wishes;
  if (!rows.length) return nothing(empty);
  const body = el('tbody');
  const pager = el('p', { class: 'pager' });
  let [found, start] = [rows, 0];
  const turn = (to) => {
    start = to;
    body.replaceChildren(...found.slice(start, start + page).flatMap((row) => drawn(row, columns, wishes)));
    pager.replaceChildren(...pages(found.length, start, page, turn));
  };
  const search =
    text &&
    rows.length > MANY &&
    filter(caption, (wanted) => {
      found = rows.filter((row) => text(row).toLowerCase().includes(wanted));
      turn(0);
    });
  turn(0);
  return el('div', {}, search, framed(caption, columns, body, wishes), pager);
}

function framed(caption, columns, body, { detail }) {
  const heads = columns.map(({ title, kind }) => el('th', { scope: 'col', class: kind }, title));
  // What is wider than the page is moved, by keys too, inside of a frame of its own.
  return el(
    'div',
    { class: 'frame', role: 'region', 'aria-label': caption, tabindex: 0 },
    el(
      'table',
      {},
      el('caption', { class: 'unseen' }, caption),
      el(
        'thead',
        {},
        el('tr', {}, heads, detail && el('th', { scope: 'col' }, el('span', { class: 'unseen' }, 'Details'))),
      ),
      body,
    ),
  );
}

function drawn(row, columns, { detail, name }) {
  const cells = columns.map(({ title, cell, kind }) =>
    el(
      kind === 'name' ? 'th' : 'td',
      { class: kind, 'data-title': title, scope: kind === 'name' ? 'row' : null },
      el('div', {}, cell(row)),
    ),
  );
  const line = el('tr', {}, cells);
  if (!detail) return [line];
  const below = el('tr', { class: 'detail', hidden: true });
  const opener = button(
    'Details',
    () => {
      if (!below.hasChildNodes()) below.append(el('td', { colspan: columns.length + 1 }, detail(row)));
      below.hidden = !below.hidden;
      opener.setAttribute('aria-expanded', String(!below.hidden));
    },
    { class: 'quiet', 'aria-expanded': 'false', 'aria-label': name && `Details of ${name(row)}` },
  );
  line.append(el('td', { class: 'actions', 'data-title': '' }, el('div', {}, opener)));
  return [line, below];
}

function pages(many, start, page, turn) {
  if (many <= page && start === 0) return many ? [] : ['Nothing is found.'];
  const told = el(
    'span',
    { role: 'status' },
    `${count(start + 1)}–${count(Math.min(start + page, many))} of ${count(many)}`,
  );
  return [
    button('Previous', () => turn(start - page), { disabled: start === 0 }),
    told,
    button('Next', () => turn(start + page), { disabled: start + page >= many }),
  ];
}

function filter(caption, find) {
  const typed = (event) => find(event.target.value.trim().toLowerCase());
  return el(
    'label',
    { class: 'filter' },
    el('span', { class: 'unseen' }, `Find in ${caption}`),
    el('input', { type: 'search', placeholder: 'Find', oninput: typed }),
  );
}
