/** What comes by pages, the newest first, chosen by what the address says. */

import { el } from '../kit/dom.mjs';
import { field, values } from '../kit/form.mjs';
import { button, worker } from '../kit/parts.mjs';
import { table } from '../kit/table.mjs';

/** Rows that are asked for at once. */
const LIMIT = 50;

/**
 * @param {import('../app.mjs').Page} page
 * @param {string} path
 * @param {string} name of what the answer holds
 * @param {string} caption
 * @param {any[]} columns
 * @param {any} [wishes]
 */
export async function paged(page, path, name, caption, columns, wishes = {}) {
  const room = el('div');
  const turn = async (cursor, before) => {
    const said = await page.api.get(path, { ...page.query, limit: LIMIT, cursor });
    const older = said.cursor && worker('Older', () => turn(said.cursor, [...before, cursor]));
    const newer = before.length > 0 && worker('Newer', () => turn(before[before.length - 1], before.slice(0, -1)));
    room.replaceChildren(
      table(caption, columns, said[name], { ...wishes, page: LIMIT, empty: 'Nothing is found.' }),
      el('p', { class: 'pager' }, newer, older),
    );
  };
  await turn(undefined, []);
  return room;
}

/**
 * A form whose fields are what the address says.
 *
 * @param {import('../app.mjs').Page} page
 * @param {string} view
 * @param {import('../kit/form.mjs').Field[]} fields
 */
export function filters(page, view, fields) {
  const made = el(
    'form',
    { class: 'tools', role: 'search' },
    fields.map((each) => field({ ...each, value: page.query[each.name] ?? '' })),
    el('button', {}, 'Show'),
    button('Clear', () => page.open(view), { class: 'quiet' }),
  );
  made.addEventListener('submit', (event) => {
    event.preventDefault();
    page.open(view, values(made));
  });
  return made;
}
