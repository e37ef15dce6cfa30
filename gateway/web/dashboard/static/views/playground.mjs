/** One call, as a client makes it, and what became of it. */

import { Refused, reached, refusal } from '../kit/api.mjs';
import { el } from '../kit/dom.mjs';
import { field, form, tried, values } from '../kit/form.mjs';
import { count, dollars, took } from '../kit/format.mjs';
import { badge, button, facts } from '../kit/parts.mjs';
import { chunks } from '../kit/stream.mjs';
import { trail } from './calls.mjs';

export const playground = { id: 'playground', title: 'Playground', permission: null, draw };

/** Looks for the record of a call, which comes into the books within a second. */
const LOOKS = 10;
const BETWEEN = 400;

async function draw(page) {
  const answer = el('div', { class: 'answer', role: 'region', 'aria-label': 'The answer', tabindex: 0 });
  const outcome = el('div', { role: 'status', 'aria-label': 'Outcome' });
  const stopper = button('Stop', () => under.way?.abort(), { hidden: true });
  const under = { /** @type {AbortController | null} */ way: null };
  const asked = form(
    'Send',
    async (written) => {
      page.kept.key = written.key;
      under.way = new AbortController();
      stopper.hidden = false;
      try {
        await call(page, written, answer, outcome, under.way.signal);
      } finally {
        stopper.hidden = true;
      }
    },
    fieldsOf(page),
    stopper,
  );
  asked.elements.key.addEventListener('change', () => tried(asked, () => offer(asked)));
  if (page.kept.key) await tried(asked, () => offer(asked));
  return el(
    'div',
    { class: 'pair' },
    el('section', { class: 'panel' }, el('h2', {}, 'Ask'), asked),
    el('section', { class: 'panel' }, el('h2', {}, 'Answer'), answer, outcome),
  );
}

const fieldsOf = ({ kept }) => [
  field({
    name: 'key',
    label: 'Key of a client',
    kind: 'password',
    value: kept.key,
    hint: 'never stored: it is gone with this page',
  }),
  field({ name: 'model', label: 'Model', known: [], placeholder: 'what the key may use' }),
  field({ name: 'message', label: 'Message', kind: 'area', value: 'Say hello in one sentence.' }),
];

const shownBy = (key) => (key ? { authorization: `Bearer ${key}` } : {});

/** Offers the models that a key may use. */
async function offer(asked) {
  const { key } = values(asked);
  const answer = await reached(fetch('v1/models', { headers: shownBy(key), cache: 'no-store' }));
  if (!answer.ok) throw await refusal(answer);
  const names = (await answer.json()).data.map(({ id }) => id);
  const { model } = asked.elements;
  model.list.replaceChildren(...names.map((each) => el('option', { value: each })));
  model.value ||= names[0] ?? '';
}

async function call(page, { key, model, message }, answer, outcome, signal) {
  answer.textContent = '';
  outcome.replaceChildren('Waiting for the first word.');
  const began = performance.now();
  const body = {
    model,
    stream: true,
    stream_options: { include_usage: true },
    messages: [{ role: 'user', content: message }],
  };
  const sent = {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...shownBy(key) },
    body: JSON.stringify(body),
    signal,
  };
  const told = { first: null, usage: null, id: '', headers: new Headers(), error: '' };
  try {
    const got = await reached(fetch('v1/chat/completions', sent));
    told.headers = got.headers;
    if (!got.ok) throw await refusal(got);
    outcome.replaceChildren('The answer comes.');
    await read(got.body, answer, told, began);
  } catch (error) {
    told.error = error.name === 'AbortError' ? 'Stopped.' : error.message;
  }
  await conclude(page, outcome, told);
}

async function read(body, answer, told, began) {
  for await (const { choices = [], usage, error } of chunks(body)) {
    if (error) throw new Refused(200, error);
    const words = choices[0]?.delta?.content;
    if (words) {
      told.first ??= performance.now() - began;
      answer.append(words);
      answer.scrollTop = answer.scrollHeight;
    }
    told.usage = usage ?? told.usage;
  }
}

/** What became of the call: at once what the client was told, and then what the books have. */
async function conclude(page, outcome, told) {
  const id = told.headers.get('x-request-id') ?? '';
  outcome.replaceChildren(...drawn(told, id, null));
  if (!id || !page.may('usage.view')) return;
  const record = await found(page.api, id);
  if (record) outcome.replaceChildren(...drawn(told, id, record));
}

function drawn({ error, headers, usage, first }, id, record) {
  const tokens = record
    ? [record.input_tokens, record.output_tokens]
    : [usage?.prompt_tokens, usage?.completion_tokens];
  return [
    error ? el('p', { class: 'trouble', role: 'alert' }, error) : el('p', {}, badge('good', 'answered')),
    facts([
      ['Provider', record?.provider || headers.get('x-gateway-provider') || '–'],
      ['Model there', record?.upstream_model || headers.get('x-gateway-model') || '–'],
      ['Attempts', String(record?.attempts.length ?? headers.get('x-gateway-attempts') ?? '–')],
      ['Tokens', `${count(tokens[0])} in, ${count(tokens[1])} out`],
      ['Cost', record ? (record.usage_source === 'none' ? '–' : dollars(record.cost_usd)) : '…'],
      ['First word', took(first)],
      ['Took', took(record?.latency_ms)],
      ['Request id', el('code', {}, id || '–')],
    ]),
    record && trail(record.attempts),
  ].filter(Boolean);
}

/** The record of a call; null where the books do not have it. */
async function found(api, id) {
  for (let look = 0; look < LOOKS; look += 1) {
    try {
      const { requests } = await api.get('requests', { id });
      if (requests.length) return requests[0];
    } catch {
      return null;
    }
    await new Promise((done) => setTimeout(done, BETWEEN));
  }
  return null;
}
