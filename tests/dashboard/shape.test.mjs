/** The pure half of the dashboard: figures, times and shapes. Run by test_files.py, or by `node --test`. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

const at = (name) => new URL(`../../gateway/web/dashboard/static/${name}.mjs`, import.meta.url);
const { ago, dollars, share, shortWhole, span, took } = await import(at('kit/format'));
const shape = await import(at('kit/shape'));
const { Frames } = await import(at('kit/stream'));

const NOW = Date.parse('2026-03-04T12:00:00Z');

test('an amount has as many digits as tell something', () => {
  const told = ['0', '0.000001', '0.0042', '0.5', '12.345678', '1234567.891', null].map(dollars);
  assert.deepEqual(told, ['$0.00', '$0.000001', '$0.0042', '$0.50', '$12.35', '$1,234,567.89', 'no price']);
});

test('a time is told in the largest unit that says enough', () => {
  assert.deepEqual([0.4, 59, 60, 3600, 37_800, 86_400, 200_000].map(span), [
    '0 s',
    '59 s',
    '1 min',
    '1 h',
    '10 h 30 min',
    '1 day',
    '2 days',
  ]);
  assert.deepEqual([0.25, 840.4, 2400, 180_000, null].map(took), ['0.3 ms', '840 ms', '2.4 s', '3 min', '–']);
  assert.deepEqual(
    ['2026-03-04T11:59:58Z', '2026-03-04T10:00:00Z', '2026-03-05', '2030-03-05T12:00Z'].map((each) => ago(each, NOW)),
    ['just now', '2 h ago', 'in 12 h', 'on 2030-03-05'],
  );
});

test('a small share is not told as none', () => {
  assert.deepEqual([share(1, 3), share(1, 100_000), share(0, 5), share(5, 0)], ['33 %', '< 0.1 %', '0 %', '0 %']);
});

test('there is no half of a call', () => {
  assert.deepEqual([0.5, 2, 1500].map(shortWhole), ['', '2', '1.5K']);
});

test('days without calls are days of none', () => {
  const since = NOW - 2 * 86_400_000;
  const found = shape.everyOne([{ day: '2026-03-03', calls: 7 }], 'day', since, NOW);
  assert.deepEqual(
    found.map(({ day, calls }) => [day.slice(0, 10), calls]),
    [
      ['2026-03-02', 0],
      ['2026-03-03', 7],
      ['2026-03-04', 0],
    ],
  );
});

test('a target that several models share is ill once', () => {
  const target = (standing) => ({ provider: 'p', model: 't', state: { standing, seconds: 9, why: 'rate_limited' } });
  const models = [
    { name: 'a', targets: [target('cooling_down')] },
    { name: 'b', targets: [target('cooling_down')] },
  ];
  assert.equal(shape.ill(models).length, 1);
  assert.deepEqual(shape.ill([{ name: 'a', targets: [target('ready')] }]), []);
  assert.equal(shape.standing(models[0].targets[0].state), 'cooling down for 9 s');
});

test('a budget tells what is used of it, and when it begins anew', () => {
  const budget = { usd: 5, tokens: 1000, every: 'day' };
  const used = { usd: '1.250000', tokens: 1500, resets: '2026-03-05' };
  assert.deepEqual(shape.bars({ budget, budget_used: used }, NOW), [
    { words: '$1.25 of $5.00 a day', share: 0.25, resets: 'resets in 12 h' },
    { words: '1.5K of 1K tokens a day', share: 1.5, resets: 'resets in 12 h' },
  ]);
  assert.equal(shape.bars({ budget, budget_used: null }, NOW)[0].share, null);
  assert.deepEqual(shape.bars({ budget: null }, NOW), []);
});

test('a form becomes what the API takes, without what is empty', () => {
  assert.deepEqual(
    shape.nested({ name: 'a', 'limits.tokens_per_minute': '1M', 'limits.requests_per_minute': '', expires: '' }),
    {
      name: 'a',
      limits: { tokens_per_minute: '1M' },
    },
  );
});

test('a change names what has changed and takes away what is gone', () => {
  const before = {
    models: ['a'],
    limits: { requests_per_minute: 60, tokens_per_minute: 1000 },
    budget: { usd: 5, every: 'day' },
    expires: null,
  };
  const after = { models: ['a'], limits: { requests_per_minute: '60' }, expires: '2027-01-01' };
  assert.deepEqual(shape.patch(before, after), {
    limits: { tokens_per_minute: null },
    budget: null,
    expires: '2027-01-01',
  });
  assert.deepEqual(shape.patch(before, before), {});
});

test('of many the largest are drawn, and the others as one', () => {
  const found = shape.largest([1, 5, 3, 2], (value) => value, 2);
  assert.deepEqual(found, { rows: [5, 3], others: 2, othersValue: 3 });
});

test('a stream is the same however it is cut', () => {
  const text = 'data: {"a":1}\n\n: ping\n\ndata: {"b":\r\ndata: 2}\r\n\r\ndata: [DONE]\n\n';
  for (let cut = 0; cut <= text.length; cut += 1) {
    const frames = new Frames();
    const found = [...frames.push(text.slice(0, cut)), ...frames.push(text.slice(cut))];
    assert.deepEqual(found, ['{"a":1}', '{"b":\n2}', '[DONE]']);
  }
});
