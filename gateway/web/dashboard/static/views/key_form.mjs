/** A key as a form has it, and as the API has it. */

import { el } from '../kit/dom.mjs';
import { field } from '../kit/form.mjs';
import { listed, nested, patch } from '../kit/shape.mjs';

const EVERY = ['day', 'hour', 'week', 'month'].map((each) => [each, each]);

const PRIORITIES = ['normal', 'low', 'high'].map((each) => [each, each]);

const MOST = {
  requests_per_minute: 'Requests a minute',
  tokens_per_minute: 'Tokens a minute',
  concurrent_requests: 'Calls at once',
};

/** What a form says when nothing is said: not sent, because it says nothing. */
const DEFAULTS = { priority: 'normal' };

/**
 * @param {any} key as the API has it; empty for a new one
 * @returns {Node[]}
 */
export function fieldsOf(key) {
  const models = {
    name: 'models',
    label: 'Models',
    value: (key.models ?? []).join(', '),
    placeholder: 'all',
    hint: 'with commas between them; one * stands for anything',
  };
  return [
    !key.name && field({ name: 'name', label: 'Name', required: true, placeholder: 'web-app' }),
    field(models),
    limitsOf(key.limits ?? {}),
    budgetOf(key.budget ?? {}),
    othersOf(key),
  ].filter(Boolean);
}

const group = (title, ...fields) => el('fieldset', {}, el('legend', {}, title), el('div', { class: 'row' }, fields));

function limitsOf(limits) {
  const fields = Object.entries(MOST).map(([name, label]) =>
    field({ name: `limits.${name}`, label, value: limits[name], placeholder: 'no limit' }),
  );
  return group('At most', fields);
}

const budgetOf = ({ usd, tokens, every }) =>
  group(
    'Budget',
    field({ name: 'budget.usd', label: 'US dollars', value: usd, placeholder: 'no budget' }),
    field({ name: 'budget.tokens', label: 'Tokens', value: tokens, placeholder: 'no budget' }),
    field({ name: 'budget.every', label: 'Every', kind: 'select', options: EVERY, value: every }),
  );

function othersOf({ expires, priority }) {
  const until = {
    name: 'expires',
    label: 'Expires',
    value: expires,
    placeholder: 'never',
    hint: '2027-01-31, or 2027-01-31T12:00Z',
  };
  const first = {
    name: 'priority',
    label: 'Priority',
    kind: 'select',
    options: PRIORITIES,
    value: priority,
    hint: 'low is refused first when there is too much to do',
  };
  return el('div', { class: 'row' }, field(until), field(first));
}

/** What is sent to make a key. @param {Record<string, any>} values */
export function written(values) {
  const { models, budget, ...others } = nested(values);
  const asked = { ...others, ...(models && { models: listed(models) }), ...(isMeant(budget) && { budget }) };
  return asked.priority === DEFAULTS.priority ? without(asked, 'priority') : asked;
}

/** What is sent to change one. @param {any} key @param {Record<string, any>} values */
export function patchOf(key, values) {
  const { models, limits, budget, expires, priority } = key;
  const after = { ...DEFAULTS, ...written(values) };
  return patch(
    { models: models?.length ? models : null, limits: limits ?? {}, budget, expires, priority },
    { limits: {}, ...after },
  );
}

/** A window alone is no budget. */
const isMeant = (budget) => Boolean(budget && (budget.usd || budget.tokens));

function without(object, name) {
  const { [name]: _, ...others } = object;
  return others;
}
