/** What was used, by whom, and what it came to. */

import { columns, ranking } from '../kit/chart.mjs';
import { el } from '../kit/dom.mjs';
import { field, values } from '../kit/form.mjs';
import { count, dollars, share, short, shortWhole, some } from '../kit/format.mjs';
import { panel, tile, worker } from '../kit/parts.mjs';
import { everyOne, largest, slot } from '../kit/shape.mjs';
import { table } from '../kit/table.mjs';

export const usage = { id: 'usage', title: 'Usage', permission: 'usage.view', draw };

const BY = [
  ['day', 'Day'],
  ['hour', 'Hour'],
  ['key', 'Key'],
  ['model', 'Model'],
  ['provider', 'Provider'],
  ['outcome', 'Outcome'],
];

const SINCE = [
  ['24h', 'last 24 hours'],
  ['7d', 'last 7 days'],
  ['30d', 'last 30 days'],
  ['90d', 'last 90 days'],
];

/** What can be drawn: its parts in a line, how it is told, and what the parts are. */
const MEASURES = {
  cost: { title: 'Cost', words: dollars, parts: ({ cost_usd }) => [Number(cost_usd ?? 0)], legend: ['US dollars'] },
  calls: {
    title: 'Calls',
    words: shortWhole,
    parts: ({ calls, errors }) => [calls - errors, errors],
    legend: ['answered', 'not answered'],
  },
  tokens: {
    title: 'Tokens',
    words: shortWhole,
    parts: (line) => [line.input_tokens, line.output_tokens],
    legend: ['input', 'output'],
  },
};

/** Bars in a chart of names; the others share one. */
const BARS = 12;

async function draw(page) {
  const asked = { by: 'day', since: '7d', ...page.query };
  const { of = 'cost', ...question } = asked;
  const measure = MEASURES[of] ?? MEASURES.cost;
  const said = await page.api.get('usage', question);
  return [
    choices(page, { ...asked, of }),
    el(
      'div',
      { class: 'stack' },
      tiles(said.total),
      panel(`${measure.title} by ${said.by}`, chart(said, measure)),
      panel(
        'In figures',
        sums(said),
        el(
          'div',
          { class: 'buttons' },
          worker('Download CSV', () => download(page.api, question)),
        ),
      ),
    ),
  ];
}

function choices(page, asked) {
  const made = el(
    'form',
    { class: 'tools', role: 'search' },
    field({ name: 'by', label: 'By', kind: 'select', options: BY, value: asked.by }),
    field({ name: 'since', label: 'Time', kind: 'select', options: SINCE, value: asked.since }),
    field({
      name: 'of',
      label: 'Chart of',
      kind: 'select',
      options: Object.entries(MEASURES).map(([name, { title }]) => [name, title]),
      value: asked.of,
    }),
    ['key', 'model', 'provider'].map((name) => field({ name, label: `Only ${name}`, value: asked[name] ?? '' })),
  );
  made.addEventListener('submit', (event) => event.preventDefault());
  made.addEventListener('change', () => page.open('usage', values(made)));
  return made;
}

const tiles = (total) =>
  el(
    'div',
    { class: 'tiles' },
    tile('Calls', count(total.calls), `${share(total.errors, total.calls)} not answered`),
    tile(
      'Tokens in',
      short(total.input_tokens),
      `${share(total.cache_read_tokens, total.input_tokens)} from the cache`,
    ),
    tile('Tokens out', short(total.output_tokens), `${share(total.reasoning_tokens, total.output_tokens)} reasoning`),
    tile(
      'Cost',
      dollars(total.cost_usd),
      total.unpriced_calls ? `and ${some(total.unpriced_calls, 'call')} without a price` : 'every call has a price',
    ),
  );

function chart({ by, lines, since, until }, { title, words, parts, legend }) {
  if (by === 'day' || by === 'hour') {
    const end = until ? Date.parse(until) : Date.now();
    const told = (line) =>
      `${slot(line[by], 'day')}${by === 'hour' ? ` ${slot(line[by], by)}` : ''}: ${parts(line).map(words).join(' + ')}`;
    const all = everyOne(lines, by, Date.parse(since), end);
    return columns(
      `${title} by ${by}`,
      all.map((line) => ({ name: slot(line[by], by), told: told(line), parts: parts(line) })),
      words,
      legend,
    );
  }
  const value = (line) => parts(line).reduce((sum, part) => sum + part, 0);
  const { rows, others, othersValue } = largest(lines, value, BARS);
  const bars = rows.map((line) => ({ name: line[by] || '(none)', told: words(value(line)), value: value(line) }));
  if (others) bars.push({ name: `${others} others`, told: words(othersValue), value: othersValue });
  return ranking(`${title} by ${by}`, bars);
}

function sums({ by, lines }) {
  const name = (line) =>
    by === 'day'
      ? slot(line[by], 'day')
      : by === 'hour'
        ? `${slot(line[by], 'day')} ${slot(line[by], by)}`
        : line[by] || '(none)';
  const newest = by === 'day' || by === 'hour' ? [...lines].reverse() : lines;
  return table(
    `Usage by ${by}`,
    [
      { title: BY.find(([id]) => id === by)?.[1] ?? by, cell: name, kind: 'name' },
      { title: 'Calls', cell: ({ calls }) => count(calls), kind: 'number' },
      { title: 'Not answered', cell: ({ errors }) => count(errors), kind: 'number' },
      { title: 'Tokens in', cell: (line) => count(line.input_tokens), kind: 'number' },
      { title: 'Tokens out', cell: (line) => count(line.output_tokens), kind: 'number' },
      { title: 'Cost', cell: cost, kind: 'number' },
    ],
    newest,
    { empty: 'No calls in this time.', text: name, page: 31 },
  );
}

function cost({ cost_usd: known, unpriced_calls: unpriced }) {
  return unpriced && known !== null
    ? el('span', { title: `${some(unpriced, 'call')} without a price` }, `> ${dollars(known)}`)
    : dollars(known);
}

async function download(api, question) {
  const url = URL.createObjectURL(await api.file('usage', { ...question, format: 'csv' }));
  el('a', { href: url, download: `usage-by-${question.by}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
