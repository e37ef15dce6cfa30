/** The form that asks for an admin token. */

import { el } from '../kit/dom.mjs';
import { field, form } from '../kit/form.mjs';

/**
 * Asks for an admin token.
 *
 * @param {(token: string) => Promise<void>} enter
 * @param {string} why it is asked for, where that is not plain
 */
export function signIn(enter, why) {
  const sent = async ({ token }) => {
    if (!token) throw new Error('Type one of the tokens of admin.tokens.');
    try {
      await enter(token);
    } catch (error) {
      throw error.status === 401 ? new Error('This is not a valid admin token.') : error;
    }
  };
  return el(
    'section',
    { class: 'panel sign-in' },
    el('h1', {}, 'Sign in'),
    why && el('p', { class: 'trouble', role: 'alert' }, why),
    form('Sign in', sent, [field({ name: 'token', label: 'Admin token', kind: 'password', required: true })]),
    el(
      'p',
      { class: 'faint' },
      'It is one of ',
      el('code', {}, 'admin.tokens'),
      ' in the configuration. This tab keeps it until you sign out or close it.',
    ),
  );
}
