/** What is in force, and what came of reading the file last. */

import { el } from '../kit/dom.mjs';
import { span } from '../kit/format.mjs';
import { badge, facts, nothing, panel, when, worker } from '../kit/parts.mjs';
import { table } from '../kit/table.mjs';

export const configuration = { id: 'configuration', title: 'Configuration', permission: 'config.view', draw };

async function draw(page) {
  const said = await page.api.get('config');
  const complaints = el('div', { class: 'complaints' });
  return [
    panel(
      'In force',
      facts([
        ['File', said.file ? el('code', {}, said.file) : 'none'],
        ['Hash', el('code', {}, said.hash.slice(0, 12))],
        ['For', said.age_seconds === null ? 'since the start' : span(said.age_seconds)],
      ]),
      page.may('config.reload') &&
        el(
          'div',
          { class: 'buttons' },
          worker('Reload', () => reload(page, complaints)),
        ),
      complaints,
    ),
    panel('Last reload', last(said.last_reload)),
    panel('The whole, without secrets', ...Object.entries(said.configuration).map(section)),
  ];
}

async function reload(page, complaints) {
  try {
    const { changed } = await page.api.post('reload');
    page.tell(
      changed ? 'The configuration was read, and is in force.' : 'The configuration was read: nothing has changed.',
    );
    await page.again();
  } catch (error) {
    const { faults } = error;
    complaints.replaceChildren(
      el(
        'p',
        { class: 'trouble', role: 'alert' },
        faults.length ? 'The file was refused, and changes nothing:' : error.message,
      ),
      complained(faults),
    );
  }
}

function last(reloaded) {
  if (!reloaded) return nothing('None since the start.');
  return [
    el('p', {}, badge(reloaded.ok ? 'good' : 'bad', reloaded.ok ? 'taken over' : 'refused'), ' ', when(reloaded.time)),
    complained(reloaded.complaints),
  ];
}

function complained(found) {
  if (!found.length) return '';
  return table(
    'Complaints',
    [
      {
        title: 'Where',
        cell: ({ file, line, column }) => el('code', {}, [file, line, column].filter(Boolean).join(':')),
        kind: 'name',
      },
      { title: 'What', cell: ({ path }) => el('code', {}, path) },
      { title: 'Complaint', cell: ({ message }) => message },
    ],
    found,
  );
}

function section([name, value]) {
  const text = JSON.stringify(value, null, 2);
  const isOne = value === null || typeof value !== 'object';
  if (isOne) return el('p', { class: 'alone' }, el('code', {}, name), ' ', el('code', { class: 'faint' }, text));
  return el('details', {}, el('summary', {}, el('code', {}, name)), el('pre', { tabindex: 0 }, text));
}
