/**
 * Signs in, and shows one view at a time: the one that the address names behind its `#`.
 *
 * A view is `{id, title, permission, every, draw}`: `draw(page)` gives what is shown, `permission` is what a token must
 * have for it, and `every` is after how many seconds it is drawn again while nobody is busy with it.
 *
 * @typedef {object} Page what a view may use
 * @property {import('./kit/api.mjs').Api} api
 * @property {(permission: string) => boolean} may
 * @property {Record<string, string>} query what is chosen, as the address has it
 * @property {(id: string, query?: Record<string, any>) => void} open goes to a view
 * @property {() => Promise<void>} again draws the view again
 * @property {(words: string) => void} tell says what has been done
 * @property {{key: string}} kept what is passed from one view to another, and never stored
 */

import { Api } from './kit/api.mjs';
import { el } from './kit/dom.mjs';
import { trouble } from './kit/parts.mjs';
import { audit } from './views/audit.mjs';
import { calls } from './views/calls.mjs';
import { configuration } from './views/configuration.mjs';
import { keys } from './views/keys.mjs';
import { models } from './views/models.mjs';
import { overview } from './views/overview.mjs';
import { playground } from './views/playground.mjs';
import { providers } from './views/providers.mjs';
import { signIn } from './views/sign_in.mjs';
import { usage } from './views/usage.mjs';

const VIEWS = [overview, providers, models, keys, usage, calls, playground, configuration, audit];

/** Where the token is while this tab is open, and nowhere else. */
const TOKEN = 'gateway-token';

/** Milliseconds that something told stays. */
const TOLD = 6000;

const [main, nav, who, out, told, theme] = ['main', 'views', 'who', 'out', 'told', 'theme'].map((id) =>
  document.getElementById(id),
);

/** Who has signed in. @type {{api: Api, may: (permission: string) => boolean} | null} */
let person = null;
let drawing = 0;
let timer = 0;
let silence = 0;
const kept = { key: '' };

/** Signs in with a token. Raises Refused. @param {string} token */
async function enter(token) {
  const api = new Api(token, () => person?.api === api && leave('This token is not valid any more.'));
  const { name, permissions } = await api.get('whoami');
  sessionStorage.setItem(TOKEN, token);
  person = { api, may: (permission) => permissions.includes(permission) };
  who.textContent = name;
  for (const each of [who, out, nav]) each.hidden = false;
  await show();
}

/** Signs out. @param {string} [why] where it was not asked for */
function leave(why = '') {
  sessionStorage.removeItem(TOKEN);
  for (const open of document.querySelectorAll('dialog[open]')) open.close();
  person = null;
  kept.key = '';
  clearTimeout(timer);
  drawing += 1;
  for (const each of [who, out, nav]) each.hidden = true;
  document.title = 'Sign in · Gateway';
  main.replaceChildren(signIn(enter, why));
  main.setAttribute('aria-busy', 'false');
  main.querySelector('input')?.focus();
}

const open = (id, query = {}) => {
  const given = Object.entries(query).filter(([, value]) => value !== '' && value !== undefined && value !== null);
  const target = `#/${id}${given.length ? `?${new URLSearchParams(Object.fromEntries(given))}` : ''}`;
  if (target === location.hash) show();
  else location.hash = target;
};

/** The view that the address names, among those that this token may see, and what is chosen in it. */
function wanted() {
  const [id, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const seen = VIEWS.filter(({ permission }) => !permission || person.may(permission));
  return {
    seen,
    view: seen.find((each) => each.id === id) ?? seen[0],
    query: Object.fromEntries(new URLSearchParams(query)),
  };
}

/** Shows the view of the address from its top. */
async function show() {
  if (!person) return;
  const { seen, view } = wanted();
  document.title = `${view.title} · Gateway`;
  nav.replaceChildren(
    el(
      'ul',
      {},
      seen.map(({ id, title }) =>
        el('li', {}, el('a', { href: `#/${id}`, 'aria-current': id === view.id ? 'page' : null }, title)),
      ),
    ),
  );
  nav.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  if (await draw()) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
}

/** Draws it, and tells whether it was still wanted when it was drawn. What was there stays until then. */
async function draw() {
  const { view, query } = wanted();
  const mine = (drawing += 1);
  clearTimeout(timer);
  main.setAttribute('aria-busy', 'true');
  const found = await shown(view, { ...person, query, open, again: async () => void (await draw()), tell, kept });
  if (mine !== drawing || !person) return false;
  main.replaceChildren(el('h1', {}, view.title), ...found);
  main.setAttribute('aria-busy', 'false');
  if (view.every) timer = setTimeout(refresh, view.every * 1000);
  return true;
}

async function shown(view, page) {
  try {
    return [await view.draw(page)].flat();
  } catch (error) {
    return [trouble(error)];
  }
}

/** Draws again what changes by itself, unless somebody is about to use it. */
function refresh() {
  const busy = main.contains(document.activeElement) && document.activeElement !== main;
  if (busy || document.hidden || document.querySelector('dialog[open], main details[open]'))
    timer = setTimeout(refresh, 2000);
  else draw();
}

/** @param {string} words */
function tell(words) {
  clearTimeout(silence);
  told.textContent = words;
  silence = setTimeout(() => (told.textContent = ''), TOLD);
}

function begin() {
  theme.value = document.documentElement.dataset.theme;
  theme.addEventListener('change', () => {
    document.documentElement.dataset.theme = theme.value;
    localStorage.setItem('gateway-theme', theme.value);
  });
  out.addEventListener('click', () => leave());
  document.getElementById('skip').addEventListener('click', (event) => {
    event.preventDefault(); // the part of the address behind the # is the view
    main.focus();
  });
  addEventListener('hashchange', show);
  const token = sessionStorage.getItem(TOKEN);
  if (token) enter(token).catch(({ message }) => leave(message));
  else leave();
}

begin();
