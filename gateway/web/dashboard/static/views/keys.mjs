/** The keys of clients: what they may do, and how much of it they have done. */

import { path } from '../kit/api.mjs';
import { dialog, sure } from '../kit/dialog.mjs';
import { el } from '../kit/dom.mjs';
import { field, form } from '../kit/form.mjs';
import { badge, button, chips, gauge, place, when, worker } from '../kit/parts.mjs';
import { bars, limitWords } from '../kit/shape.mjs';
import { table } from '../kit/table.mjs';
import { fieldsOf, patchOf, written } from './key_form.mjs';

export const keys = { id: 'keys', title: 'Keys', permission: 'key.view', draw };

const MOODS = { valid: 'good', expired: 'plain', revoked: 'plain', shadowed: 'warn', unreadable: 'bad' };

async function draw(page) {
  const { keys: all } = await page.api.get('keys');
  const shown = page.query.all ? all : all.filter(({ state }) => state !== 'revoked' && state !== 'expired');
  const hidden = all.length - shown.length;
  return [
    el(
      'div',
      { class: 'tools' },
      page.may('key.create') && button('Make a key', () => make(page), { class: 'first' }),
      (hidden > 0 || page.query.all) &&
        button(
          page.query.all ? 'Hide those that are over' : `Show ${hidden} that are over`,
          () => page.open('keys', page.query.all ? {} : { all: 1 }),
          { class: 'quiet' },
        ),
    ),
    table(
      'Keys',
      [
        { title: 'Name', cell: called, kind: 'name' },
        { title: 'State', cell: stateOf },
        { title: 'Models', cell: ({ models }) => chips(models ?? [], 'all') },
        {
          title: 'Limits',
          cell: ({ limits }) => limitWords(limits).map((each) => el('div', { class: 'whole' }, each)),
        },
        { title: 'Budget', cell: budget },
        { title: '', cell: (key) => actions(page, key), kind: 'actions' },
      ],
      shown,
      { empty: 'There are no keys.', text: ({ name, models }) => [name, ...(models ?? [])].join(' ') },
    ),
  ];
}

const called = ({ name, shown, declared, previous_until: previous }) => [
  el('span', {}, name),
  el('div', { class: 'faint' }, place(declared)),
  shown && el('div', { class: 'faint' }, el('code', {}, `${shown}…`)),
  previous && el('div', { class: 'faint' }, 'the one before ends ', when(previous)),
];

const stateOf = ({ state, revoked, expires }) => [
  badge(MOODS[state] ?? 'plain', state),
  el('div', { class: 'faint' }, revoked ? ['since ', when(revoked)] : expires && ['expires ', when(expires)]),
];

function budget(key) {
  const found = bars(key, Date.now());
  return found.length ? found.map(({ words, share, resets }) => gauge(words, share, resets)) : '–';
}

function actions(page, key) {
  if (key.declared !== 'database' || key.state !== 'valid') return '';
  return [
    page.may('key.edit') && button('Edit', () => edit(page, key), { 'aria-label': `Edit ${key.name}` }),
    page.may('key.edit') && button('Replace', () => replace(page, key), { 'aria-label': `Replace ${key.name}` }),
    page.may('key.delete') &&
      button('Revoke', () => revoke(page, key), { class: 'danger', 'aria-label': `Revoke ${key.name}` }),
  ];
}

function make(page) {
  dialog('Make a key', (close) =>
    form(
      'Make',
      async (values) => {
        const made = await page.api.post('keys', written(values));
        close();
        await page.again();
        show(page, made);
      },
      fieldsOf({}),
      button('Cancel', close),
    ),
  );
}

function edit(page, key) {
  dialog(`Edit ${key.name}`, (close) =>
    form(
      'Save',
      async (values) => {
        await page.api.patch(`keys/${path(key.name)}`, patchOf(key, values), key.version);
        close();
        page.tell(`${key.name} was changed.`);
        await page.again();
      },
      fieldsOf(key),
      button('Cancel', close),
    ),
  );
}

function replace(page, key) {
  dialog(`Replace ${key.name}`, (close) =>
    form(
      'Replace',
      async ({ overlap }) => {
        const made = await page.api.post(`keys/${path(key.name)}/rotate`, overlap ? { overlap } : {}, key.version);
        close();
        await page.again();
        show(page, made);
      },
      [
        el(
          'p',
          {},
          'A new key of the same name is made. The old one stays valid for a while, so that clients can change over.',
        ),
        field({
          name: 'overlap',
          label: 'The old one stays valid for',
          value: '24h',
          hint: '30m, 24h, 7d; 0s ends it at once',
        }),
      ],
      button('Cancel', close),
    ),
  );
}

function revoke(page, key) {
  sure(
    `Revoke ${key.name}`,
    'Calls with this key are refused from now on, everywhere within five seconds. It cannot be undone, and its name is not given again.',
    'Revoke',
    async () => {
      await page.api.delete(`keys/${path(key.name)}`, key.version);
      page.tell(`${key.name} was revoked.`);
      await page.again();
    },
  );
}

/** The key itself, this once. */
function show(page, { name, key }) {
  dialog(`The key ${name}`, (close) => {
    const shown = el('input', {
      class: 'secret',
      readonly: true,
      value: key,
      'aria-label': 'The key',
      onfocus: ({ target }) => target.select(),
    });
    return [
      el('p', {}, 'Copy it now: it is kept nowhere, and shown this once.'),
      shown,
      el(
        'div',
        { class: 'buttons' },
        worker('Copy', () => copy(page, shown), { class: 'first' }),
        button('Try it in the playground', () => {
          page.kept.key = key;
          close();
          page.open('playground');
        }),
        button('Done', close),
      ),
    ];
  });
}

async function copy(page, shown) {
  try {
    await navigator.clipboard.writeText(shown.value);
    page.tell('Copied.');
  } catch {
    // Only pages that came over https, or from this machine, may write to the clipboard.
    shown.select();
    page.tell('Marked: copy it with Ctrl+C.');
  }
}
