/** A provider as a form has it, and as the API has it. */

import { reached, refusal } from '../kit/api.mjs';
import { el } from '../kit/dom.mjs';
import { field } from '../kit/form.mjs';
import { listed, nested, patch } from '../kit/shape.mjs';

/**
 * @typedef {object} Type what a type wants to be told
 * @property {string | null} base_url its own; null: there is none
 * @property {string} credential
 * @property {boolean} key_required
 * @property {boolean} needs_region
 * @property {boolean} needs_api_version
 */

/** Fields that are sent and never come back. */
const SECRETS = [
  'api_key',
  'access_key_id',
  'secret_access_key',
  'session_token',
  'organization',
  'project',
  'proxy',
  'headers',
];

const PLAIN = ['base_url', 'endpoint_url', 'region', 'api_version', 'send_user_id', 'enabled', 'models'];

const PUBLISH = [
  ['nothing', 'nothing by itself'],
  ['discover', 'all that it lists'],
  ['these', 'these'],
];

/** Which fields a kind of credential needs. */
const CREDENTIALS = {
  aws: ['region', 'access_key_id', 'secret_access_key', 'session_token', 'api_key', 'endpoint_url'],
  none: [],
};

const ORDINARY = ['base_url', 'api_key'];

/** @returns {Promise<Record<string, Type>>} */
export async function typesOf() {
  const answer = await reached(fetch('dashboard/types.json'));
  if (!answer.ok) throw await refusal(answer);
  return answer.json();
}

/**
 * @param {any} provider as the API has it; empty for a new one
 * @param {Record<string, Type>} types
 * @returns {Node[]}
 */
export function fieldsOf(provider, types) {
  const isNew = !provider.name;
  const first = provider.type ?? 'openai';
  const own = el('div', {}, ownFields(provider, types[first]));
  const type = field({
    name: 'type',
    label: 'Type',
    kind: 'select',
    options: Object.keys(types).map((each) => [each, each]),
    value: first,
  });
  type.addEventListener('change', ({ target }) => own.replaceChildren(...ownFields(provider, types[target.value])));
  return [
    isNew && field({ name: 'name', label: 'Name', required: true, placeholder: 'openai-production' }),
    type,
    own,
    ...publishing(provider),
    el(
      'details',
      {},
      el('summary', {}, 'More'),
      secret(provider, 'organization', 'Organization', 'sent as openai-organization'),
      secret(provider, 'project', 'Project', 'sent as openai-project'),
      secret(provider, 'proxy', 'Proxy', 'http://user:password@host:port'),
      headersOf(provider),
      field({ name: 'send_user_id', label: 'Pass on who the user is', kind: 'checkbox', value: provider.send_user_id }),
    ),
    field({ name: 'enabled', label: 'Calls may go here', kind: 'checkbox', value: provider.enabled ?? true }),
    el('div', { 'data-room': '' }),
  ].filter(Boolean);
}

function ownFields(provider, type) {
  const made = {
    base_url: () =>
      field({
        name: 'base_url',
        label: 'Base URL',
        value: provider.base_url,
        placeholder: type.base_url ?? 'https://host/v1',
        required: !type.base_url,
      }),
    endpoint_url: () =>
      field({ name: 'endpoint_url', label: 'Endpoint', value: provider.endpoint_url, placeholder: "the region's own" }),
    region: () =>
      field({ name: 'region', label: 'Region', value: provider.region, placeholder: 'us-east-1', required: true }),
    api_version: () =>
      field({ name: 'api_version', label: 'API version', value: provider.api_version, placeholder: '2024-10-21' }),
    api_key: () =>
      secret(
        provider,
        'api_key',
        type.credential === 'aws' ? 'Or a Bedrock API key' : 'API key',
        type.key_required ? '' : 'may be left empty',
      ),
    access_key_id: () => secret(provider, 'access_key_id', 'Access key id'),
    secret_access_key: () => secret(provider, 'secret_access_key', 'Secret access key'),
    session_token: () => secret(provider, 'session_token', 'Session token', 'with temporary credentials only'),
  };
  const names = [...(CREDENTIALS[type.credential] ?? ORDINARY), ...(type.needs_api_version ? ['api_version'] : [])];
  return names.map((name) => made[name]());
}

function secret({ secrets = [] }, name, label, hint = '') {
  const placeholder = secrets.includes(name) ? 'set; leave it empty to keep it' : '';
  return field({ name, label, kind: 'password', placeholder, hint });
}

function headersOf({ secrets = [] }) {
  const set = secrets.filter((each) => each.startsWith('headers.')).map((each) => each.slice('headers.'.length));
  const hint = set.length
    ? `set already: ${set.join(', ')}; what is not named stays`
    : 'sent with every request; one on each line';
  return field({ name: 'headers', label: 'Headers', kind: 'area', placeholder: 'x-tenant: acme', hint });
}

/** Lines of a name, a colon, and what it is. @param {string} text */
const headersIn = (text) =>
  Object.fromEntries(
    text
      .split('\n')
      .filter((line) => line.trim())
      .map((line) => [line.split(':', 1)[0].trim(), line.slice(line.indexOf(':') + 1).trim()]),
  );

function publishing({ models }) {
  const chosen = models === 'discover' ? 'discover' : models?.length ? 'these' : 'nothing';
  const names = field({
    name: 'models',
    label: 'Which',
    kind: 'area',
    value: chosen === 'these' ? models.join('\n') : '',
    hint: 'one on each line',
  });
  const how = field({
    name: 'publish',
    label: 'Publishes under their own names',
    kind: 'select',
    options: PUBLISH,
    value: chosen,
    hint: 'clients can ask for these without an entry in models',
  });
  const show = () => (names.hidden = how.querySelector('select').value !== 'these');
  how.querySelector('select').addEventListener('change', show);
  show();
  return [how, names];
}

/**
 * What is sent to add a provider: what its type has a field for, and what was typed.
 *
 * @param {Record<string, any>} values
 */
export function written(values) {
  const { publish, models = '', headers = '', enabled, send_user_id: passed, ...others } = nested(values);
  const published = { discover: 'discover', these: listed(models) }[publish];
  return {
    ...others,
    ...(headers && { headers: headersIn(headers) }),
    ...(published?.length && { models: published }),
    ...(enabled === false && { enabled }),
    ...(passed && { send_user_id: passed }),
  };
}

/**
 * What is sent to change one. A secret that is not typed anew stays.
 *
 * @param {any} provider
 * @param {Record<string, any>} values
 */
export function patchOf(provider, values) {
  const anew = written(values);
  const told = (from) => Object.fromEntries(['type', ...PLAIN].map((name) => [name, from[name]]));
  const before = told({
    ...provider,
    models: provider.models?.length ? provider.models : null,
    enabled: provider.enabled ?? true,
    send_user_id: provider.send_user_id ?? false,
  });
  const after = told({ enabled: true, send_user_id: false, ...anew });
  return {
    ...patch(before, after),
    ...Object.fromEntries(SECRETS.filter((name) => anew[name]).map((name) => [name, anew[name]])),
  };
}
