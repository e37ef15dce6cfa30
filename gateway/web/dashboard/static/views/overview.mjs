/** How it goes, on one page. */

import { columns } from '../kit/chart.mjs';
import { el } from '../kit/dom.mjs';
import { count, dollars, share, short, shortWhole, some } from '../kit/format.mjs';
import { badge, nothing, panel, tile, trouble, when } from '../kit/parts.mjs';
import { everyOne, ill, plain, slot, standing } from '../kit/shape.mjs';
import { table } from '../kit/table.mjs';

const DAY = 86_400_000;

export const overview = { id: 'overview', title: 'Overview', permission: null, every: 10, draw };

async function draw(page) {
  const drawn = await Promise.all([page.may('usage.view') && spending(page), illness(page)]);
  return drawn.some(Boolean) ? el('div', { class: 'stack' }, drawn) : nothing('This token may not see how it goes.');
}

async function spending({ api }) {
  const now = Date.now();
  const since = Math.floor(now / DAY) * DAY - 6 * DAY;
  try {
    const [byDay, outcomes] = await Promise.all([
      api.get('usage', { by: 'day', since: new Date(since).toISOString().slice(0, 10) }),
      api.get('usage', { by: 'outcome', since: new Date(since + 6 * DAY).toISOString().slice(0, 10) }),
    ]);
    return drawn(everyOne(byDay.lines, 'day', since, now), byDay.total, outcomes.lines);
  } catch (error) {
    return panel('Usage', trouble(error));
  }
}

const drawn = (days, total, outcomes) =>
  el(
    'div',
    { class: 'stack' },
    figures(days[days.length - 1], total, outcomes),
    el('div', { class: 'pair' }, charts(days)),
  );

function figures(today, total, outcomes) {
  const tokens = (line) => line.input_tokens + line.output_tokens;
  const failed = outcomes
    .filter(({ outcome }) => outcome !== 'ok')
    .map(({ calls, outcome }) => `${count(calls)} ${plain(outcome)}`);
  return el(
    'div',
    { class: 'tiles' },
    tile('Calls today', count(today.calls), `${count(total.calls)} in 7 days`),
    tile('Tokens today', short(tokens(today)), `${short(tokens(total))} in 7 days`),
    tile('Cost today', dollars(today.cost_usd), `${dollars(total.cost_usd)} in 7 days`),
    tile('Not answered today', share(today.errors, today.calls), failed.join(', ') || 'every call was answered'),
  );
}

function charts(days) {
  const each = (told, parts) =>
    days.map((day) => {
      const name = slot(day.day, 'day');
      return { name, told: `${name}: ${told(day)}`, parts: parts(day) };
    });
  const calls = each(
    ({ calls, errors }) => `${some(calls, 'call')}, ${count(errors)} not answered`,
    ({ calls, errors }) => [calls - errors, errors],
  );
  const cost = each(
    (day) => dollars(day.cost_usd),
    (day) => [Number(day.cost_usd ?? 0)],
  );
  return [
    panel('Calls', columns('Calls of the last seven days', calls, shortWhole, ['answered', 'not answered'])),
    panel('Cost', columns('Cost of the last seven days', cost, dollars, ['US dollars a day (UTC)'])),
  ];
}

/** What is not well now, as far as this token may see. */
async function illness({ api, may }) {
  const looks = [
    may('config.view') && targets(api),
    may('config.view') && reloading(api),
    may('llm_provider.view') && providers(api),
    may('key.view') && keys(api),
  ].filter(Boolean);
  if (!looks.length) return null;
  const found = (
    await Promise.all(looks.map((look) => look.catch((error) => [row('gateway', '', 'bad', 'unknown', error.message)])))
  ).flat();
  return panel(
    'Needs attention',
    table(
      'What is not well now',
      [
        { title: 'What', cell: ({ what }) => what, kind: 'name' },
        { title: 'How', cell: ({ mood, how }) => badge(mood, how) },
        { title: 'Why', cell: ({ why }) => why },
        { title: 'Since', cell: ({ since }) => when(since) },
      ],
      found,
      { empty: 'Nothing: everything that can be seen from here is well.' },
    ),
  );
}

const row = (what, name, mood, how, why, since = null) => ({
  what: el('span', {}, `${what} `, el('code', {}, name)),
  mood,
  how,
  why,
  since,
});

async function targets(api) {
  const { models } = await api.get('models');
  return ill(models).map(({ provider, target, state }) =>
    row(
      'target',
      `${provider}/${target}`,
      state.standing === 'ejected' ? 'bad' : 'warn',
      standing(state),
      plain(state.why),
    ),
  );
}

async function reloading(api) {
  const { last_reload: last } = await api.get('config');
  if (!last || last.ok) return [];
  return [
    row(
      'configuration',
      '',
      'bad',
      'refused',
      `the last reload found ${some(last.complaints.length, 'complaint')}; what was there before is in force`,
      last.time,
    ),
  ];
}

async function providers(api) {
  const { providers: found } = await api.get('providers');
  return found.flatMap(({ name, state, why, test }) => {
    if (state === 'unreadable') return [row('provider', name, 'bad', state, why)];
    return test && !test.ok ? [row('provider', name, 'warn', 'failed its test', test.error, test.at)] : [];
  });
}

async function keys(api) {
  const { keys: found } = await api.get('keys');
  return found.flatMap((key) => {
    if (key.state === 'unreadable')
      return [
        row('key', key.name, 'bad', key.state, 'it opens nothing: the database holds what this version cannot read'),
      ];
    const spent = key.state === 'valid' && isSpent(key);
    return spent ? [row('key', key.name, 'warn', 'budget spent', `all of this ${key.budget.every}'s is used`)] : [];
  });
}

const isSpent = ({ budget, budget_used: used }) =>
  Boolean(budget && used) &&
  (Number(used.usd) >= (budget.usd ?? Infinity) || used.tokens >= (budget.tokens ?? Infinity));
