/** What clients can ask for, where it leads, and how it is there now. */

import { el } from '../kit/dom.mjs';
import { count, share } from '../kit/format.mjs';
import { badge, button, chips, facts, nothing } from '../kit/parts.mjs';
import { limitWords, plain, priceWords, shares, standing } from '../kit/shape.mjs';
import { table } from '../kit/table.mjs';

const MOODS = { ready: 'good', cooling_down: 'warn', ejected: 'bad' };

/** Models in one page. */
const PAGE = 25;

export const models = { id: 'models', title: 'Models', permission: 'config.view', every: 10, draw };

async function draw(page) {
  const { models: all, default_model: fallback } = await page.api.get('models');
  const wanted = (page.query.find ?? '').toLowerCase();
  const start = Number(page.query.from ?? 0) || 0;
  const found = all.filter((each) => textOf(each).includes(wanted));
  return [
    el('div', { class: 'tools' }, finder(page)),
    found.length ? '' : nothing(all.length ? 'Nothing is found.' : 'The configuration names no models.'),
    el(
      'div',
      { class: 'stack' },
      found.slice(start, start + PAGE).map((each) => card(each, fallback)),
    ),
    found.length > PAGE && pager(page, start, found.length),
  ].filter(Boolean);
}

function finder({ query, open }) {
  const find = (event) => open('models', { find: event.target.value.trim() });
  return el(
    'label',
    { class: 'filter' },
    el('span', { class: 'unseen' }, 'Find a model'),
    el('input', { type: 'search', placeholder: 'Find a model, a provider', value: query.find ?? '', onchange: find }),
  );
}

function pager({ query, open }, start, many) {
  const turn = (from) => () => open('models', { ...query, from });
  return el(
    'p',
    { class: 'pager' },
    button('Previous', turn(Math.max(0, start - PAGE)), { disabled: start === 0 }),
    el('span', {}, `${count(start + 1)}–${count(Math.min(start + PAGE, many))} of ${count(many)}`),
    button('Next', turn(start + PAGE), { disabled: start + PAGE >= many }),
  );
}

const textOf = ({ name, aliases, targets }) =>
  [name, ...aliases, ...targets.flatMap(({ provider, model }) => [provider, model])].join(' ').toLowerCase();

function card(model, fallback) {
  const parts = shares(model.targets);
  const rows = model.targets.map((target, at) => ({ ...target, part: parts[at] }));
  const after = [
    ['Fallbacks', model.fallbacks],
    ['When too long', model.context_fallbacks],
    ['When filtered', model.content_fallbacks],
  ];
  return el(
    'section',
    { class: 'panel' },
    el(
      'div',
      { class: 'panel-top' },
      el('h2', {}, model.name),
      el('span', { class: 'faint' }, model.strategy.replace('_', ' '), model.name === fallback && ' · the default'),
    ),
    model.aliases.length > 0 && facts([['Also called', chips(model.aliases)]]),
    table(`Targets of ${model.name}`, columnsOf(model), rows, { empty: 'It has no targets.' }),
    facts(after.filter(([, names]) => names.length).map(([title, names]) => [title, chips(names)])),
  );
}

function columnsOf({ strategy }) {
  return [
    { title: 'Provider', cell: ({ provider }) => provider, kind: 'name' },
    { title: 'Model there', cell: ({ model }) => el('code', {}, model) },
    {
      title: 'State',
      cell: ({ state }) => [
        badge(MOODS[state.standing] ?? 'plain', standing(state)),
        state.why && el('div', { class: 'faint' }, plain(state.why)),
      ],
    },
    { title: 'Under way', cell: ({ state }) => count(state.in_flight), kind: 'number' },
    strategy === 'weighted' && { title: 'Share', cell: ({ part }) => share(part, 1), kind: 'number' },
    { title: 'Price per million', cell: ({ price }) => priceWords(price) },
    { title: 'Context', cell: ({ context }) => count(context), kind: 'number' },
    { title: 'Limits', cell: ({ limits }) => limitWords(limits).join(', ') || '–' },
  ].filter(Boolean);
}
