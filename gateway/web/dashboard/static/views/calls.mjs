/** The calls that were made, and how each went. Never what was said in them. */

import { el } from '../kit/dom.mjs';
import { count, dollars, took } from '../kit/format.mjs';
import { badge, exactly, facts } from '../kit/parts.mjs';
import { table } from '../kit/table.mjs';
import { filters, paged } from './paged.mjs';

export const calls = { id: 'calls', title: 'Calls', permission: 'usage.view', draw };

const MOODS = {
  ok: 'good',
  cancelled: 'plain',
  limited: 'warn',
  client_error: 'warn',
  truncated: 'bad',
  upstream_error: 'bad',
};

const OUTCOMES = ['', ...Object.keys(MOODS)].map((each) => [each, each.replace('_', ' ') || 'any']);

async function draw(page) {
  const list = paged(page, 'requests', 'requests', 'Calls', COLUMNS, { detail, name: ({ id }) => id });
  return [
    filters(page, 'calls', [
      { name: 'key', label: 'Key' },
      { name: 'model', label: 'Model' },
      { name: 'provider', label: 'Provider' },
      { name: 'outcome', label: 'Outcome', kind: 'select', options: OUTCOMES },
      { name: 'status', label: 'Status', placeholder: '429' },
      { name: 'since', label: 'Since', placeholder: '1h, 2026-01-31' },
    ]),
    await list,
  ];
}

const COLUMNS = [
  { title: 'When', cell: ({ time }) => exactly(time), kind: 'name' },
  { title: 'Key', cell: ({ key }) => key || '–' },
  { title: 'Model', cell: ({ model }) => model || '–' },
  { title: 'Provider', cell: ({ provider }) => provider || '–' },
  {
    title: 'Outcome',
    cell: ({ outcome, status }) => badge(MOODS[outcome] ?? 'plain', `${status} ${outcome.replace('_', ' ')}`),
  },
  { title: 'Tokens', cell: tokens, kind: 'number' },
  {
    title: 'Cost',
    cell: ({ cost_usd, usage_source }) => (usage_source === 'none' ? '–' : dollars(cost_usd)),
    kind: 'number',
  },
  { title: 'Took', cell: ({ latency_ms }) => took(latency_ms), kind: 'number' },
];

function tokens({ input_tokens: asked, output_tokens: answered, usage_source: source }) {
  if (source === 'none') return '–';
  return `${source === 'estimated' ? '≈ ' : ''}${count(asked)} + ${count(answered)}`;
}

function detail(call) {
  return el(
    'div',
    { class: 'stack' },
    facts([
      ['Request id', el('code', {}, call.id)],
      ['Endpoint', call.endpoint + (call.stream ? ', streamed' : '')],
      ['Model there', call.upstream_model || '–'],
      ['End user', call.end_user ?? '–'],
      ['First output', took(call.first_token_ms)],
      ['In the gateway', took(call.overhead_ms)],
      ['From the cache', count(call.cache_read_tokens)],
      ['Reasoning', count(call.reasoning_tokens)],
      [
        'Counted by',
        { reported: 'the provider', estimated: 'our estimate', none: 'nobody' }[call.usage_source] ?? call.usage_source,
      ],
    ]),
    trail(call.attempts),
  );
}

/** @param {any[]} attempts in their order */
export const trail = (attempts) =>
  table(
    'Attempts',
    [
      { title: 'Attempt', cell: ({ at }) => String(at) },
      { title: 'Provider', cell: ({ provider }) => provider, kind: 'name' },
      { title: 'Model there', cell: ({ model }) => el('code', {}, model) },
      {
        title: 'Outcome',
        cell: ({ outcome }) =>
          badge(outcome === 'ok' ? 'good' : outcome === 'cancelled' ? 'plain' : 'bad', outcome.replaceAll('_', ' ')),
      },
      { title: 'Took', cell: ({ ms }) => took(ms), kind: 'number' },
    ],
    attempts.map((each, at) => ({ ...each, at: at + 1 })),
    { empty: 'No provider was asked.' },
  );
