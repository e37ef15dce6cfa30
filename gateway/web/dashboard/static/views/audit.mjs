/** Who has changed what. */

import { el } from '../kit/dom.mjs';
import { exactly } from '../kit/parts.mjs';
import { changeWords } from '../kit/shape.mjs';
import { filters, paged } from './paged.mjs';

export const audit = { id: 'audit', title: 'Audit', permission: 'config.view', draw };

const ACTIONS = [
  'key.create',
  'key.edit',
  'key.rotate',
  'key.revoke',
  'provider.create',
  'provider.edit',
  'provider.delete',
  'config.reload',
];

async function draw(page) {
  const list = paged(page, 'audit', 'audit', 'What was changed', [
    { title: 'When', cell: ({ time }) => exactly(time), kind: 'name' },
    { title: 'Who', cell: ({ who, via }) => [who, el('span', { class: 'faint' }, ` by ${via}`)] },
    { title: 'From', cell: ({ address }) => address || '–' },
    { title: 'What', cell: ({ action }) => el('code', {}, action) },
    { title: 'Of', cell: ({ subject }) => subject },
    {
      title: 'Changes',
      cell: ({ changes }) =>
        el(
          'ul',
          { class: 'changes' },
          changes.map((each) => el('li', {}, changeWords(each))),
        ),
    },
  ]);
  return [
    filters(page, 'audit', [
      { name: 'who', label: 'Who' },
      {
        name: 'action',
        label: 'What',
        kind: 'select',
        options: [['', 'anything'], ...ACTIONS.map((each) => [each, each])],
      },
      { name: 'subject', label: 'Of' },
      { name: 'since', label: 'Since', placeholder: '7d, 2026-01-31' },
    ]),
    await list,
  ];
}
