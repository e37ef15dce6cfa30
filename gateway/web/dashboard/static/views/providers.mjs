/** The accounts at providers: how each is, what it offers, and what may be changed of it. */

import { path } from '../kit/api.mjs';
import { dialog, sure } from '../kit/dialog.mjs';
import { el } from '../kit/dom.mjs';
import { form, tried, values } from '../kit/form.mjs';
import { some, took } from '../kit/format.mjs';
import { badge, button, facts, nothing, place, trouble, when, worker } from '../kit/parts.mjs';
import { table } from '../kit/table.mjs';
import { fieldsOf, patchOf, typesOf, written } from './provider_form.mjs';

export const providers = { id: 'providers', title: 'Providers', permission: 'llm_provider.view', draw };

const MOODS = { active: 'good', inactive: 'plain', shadowed: 'warn', unreadable: 'bad' };

/** @type {Record<string, [import('../kit/parts.mjs').Mood, string]>} */
const CREDENTIALS = { valid: ['good', 'accepted'], refused: ['bad', 'refused'], unknown: ['plain', 'not checked'] };

async function draw(page) {
  const { providers: all } = await page.api.get('providers');
  return [
    page.may('llm_provider.create') &&
      el(
        'div',
        { class: 'tools' },
        button('Add a provider', () => add(page), { class: 'first' }),
      ),
    table(
      'Providers',
      [
        { title: 'Name', cell: called, kind: 'name' },
        {
          title: 'State',
          cell: ({ state, why }) => [badge(MOODS[state] ?? 'plain', state), why && el('div', { class: 'faint' }, why)],
        },
        { title: 'Last test', cell: ({ test }) => tested(test) },
        { title: 'Credentials', cell: secrets },
        { title: 'Publishes', cell: published },
        { title: '', cell: (provider) => actions(page, provider), kind: 'actions' },
      ],
      all,
      { empty: 'There are no providers.', text: ({ name, type }) => `${name} ${type}` },
    ),
  ].filter(Boolean);
}

const called = ({ name, type, base_url: url, endpoint_url: endpoint, region, declared }) => [
  el('span', {}, name),
  el('div', { class: 'faint' }, [type, region].filter(Boolean).join(', '), ' ', place(declared)),
  (url || endpoint) && el('div', { class: 'faint address', title: url || endpoint }, url || endpoint),
];

function tested(test) {
  if (!test) return el('span', { class: 'faint' }, 'never');
  return [
    badge(test.ok ? 'good' : 'bad', test.ok ? `well, ${took(test.latency_ms)}` : 'failed'),
    ' ',
    when(test.at),
    test.error && el('div', { class: 'fault', title: test.error }, test.error),
  ];
}

const secrets = ({ secrets: set }) => set.map((each) => el('div', { class: 'whole' }, el('code', {}, each), ' is set'));

function published({ models }) {
  if (models === 'discover') return 'all that it lists';
  return models.length
    ? el('span', { title: models.join(', ') }, some(models.length, 'model'))
    : el('span', { class: 'faint' }, '–');
}

function actions(page, provider) {
  const { name, declared } = provider;
  const own = declared === 'database';
  return [
    page.may('llm_provider.test') && worker('Test', () => test(page, name), { 'aria-label': `Test ${name}` }),
    page.may('llm_provider.test') && worker('Models', () => listing(page, name), { 'aria-label': `Models of ${name}` }),
    own &&
      page.may('llm_provider.edit') &&
      worker('Edit', () => edit(page, provider), { 'aria-label': `Edit ${name}` }),
    own &&
      page.may('llm_provider.delete') &&
      button('Delete', () => remove(page, provider), { class: 'danger', 'aria-label': `Delete ${name}` }),
  ];
}

async function test(page, name) {
  try {
    const found = await page.api.post(`providers/${path(name)}/test`);
    page.tell(found.ok ? `${name} is well: ${took(found.latency_ms)}.` : `${name} failed: ${found.error}`);
    await page.again();
  } catch (error) {
    page.tell(error.message);
  }
}

async function listing(page, name) {
  try {
    const found = await page.api.post(`providers/${path(name)}/models`);
    dialog(`Models of ${name}`, () => look(found));
    await page.again();
  } catch (error) {
    page.tell(error.message);
  }
}

/** What a look at a provider has shown. */
function look({ ok, reachable, credentials, latency_ms: latency, models, error, note }) {
  const [mood, words] = CREDENTIALS[credentials] ?? ['plain', credentials];
  return [
    facts([
      ['Reachable', badge(reachable ? 'good' : 'bad', reachable ? 'yes' : 'no')],
      ['Credentials', badge(mood, words)],
      ['Took', took(latency)],
    ]),
    !ok && trouble({ name: '', message: error }),
    note && el('p', { class: 'faint' }, note),
    models
      ? table('Models', [{ title: 'Model', cell: (model) => el('code', {}, model), kind: 'name' }], models, {
          text: (model) => model,
          page: 20,
        })
      : nothing('It lists no models.'),
  ];
}

async function add(page) {
  const types = await typesOf();
  dialog('Add a provider', (close) => {
    const made = form(
      'Save',
      async (given) => {
        const { name } = await page.api.post('providers', written(given));
        close();
        page.tell(`${name} was added.`);
        await page.again();
      },
      fieldsOf({}, types),
      [
        discoverer(
          page,
          () => made,
          (given) => page.api.post('providers/discover', without(written(given), 'name')),
        ),
        button('Cancel', close),
      ],
    );
    return made;
  });
}

async function edit(page, provider) {
  const types = await typesOf();
  dialog(`Edit ${provider.name}`, (close) => {
    const made = form(
      'Save',
      async (given) => {
        await page.api.patch(`providers/${path(provider.name)}`, patchOf(provider, given), provider.version);
        close();
        page.tell(`${provider.name} was changed.`);
        await page.again();
      },
      fieldsOf(provider, types),
      [
        page.may('llm_provider.test') &&
          discoverer(
            page,
            () => made,
            () => page.api.post(`providers/${path(provider.name)}/models`),
          ),
        button('Cancel', close),
      ],
    );
    return made;
  });
}

/** A button that asks a provider what it lists, and lets one choose of it what is published. */
function discoverer(page, formOf, ask) {
  return worker('Discover models', async () => {
    const made = formOf();
    await tried(made, async () => {
      const found = await ask(values(made));
      const room = made.querySelector('[data-room]');
      room.replaceChildren(
        el('div', { class: 'found', role: 'status' }, look(found), chooser(made, found.models ?? [])),
      );
    });
  });
}

function chooser(made, models) {
  if (!models.length) return '';
  const { models: names, publish } = made.elements;
  return button(`Publish these ${models.length}`, () => {
    publish.value = 'these';
    publish.dispatchEvent(new Event('change'));
    names.value = models.join('\n');
    names.focus();
  });
}

function remove(page, provider) {
  sure(`Delete ${provider.name}`, 'Its credentials are deleted with it. That cannot be undone.', 'Delete', async () => {
    await page.api.delete(`providers/${path(provider.name)}`, provider.version);
    page.tell(`${provider.name} was deleted.`);
    await page.again();
  });
}

function without(object, name) {
  const { [name]: _, ...others } = object;
  return others;
}
