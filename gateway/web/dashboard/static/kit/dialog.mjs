/** What lies over the page until it is answered. The browser keeps the focus in it, and Escape ends it. */

import { el } from './dom.mjs';
import { button, worker } from './parts.mjs';

/**
 * @param {string} title
 * @param {(close: () => void) => import('./dom.mjs').Child} content
 */
export function dialog(title, content) {
  const close = () => opened.close();
  const opened = el(
    'dialog',
    { 'aria-label': title },
    el(
      'div',
      { class: 'dialog-top' },
      el('h2', {}, title),
      button('×', close, { class: 'quiet close', 'aria-label': 'Close' }),
    ),
    content(close),
  );
  const before = document.activeElement;
  opened.addEventListener('close', () => {
    opened.remove();
    if (before instanceof HTMLElement && before.isConnected) before.focus();
    else document.getElementById('main')?.focus();
  });
  document.body.append(opened);
  opened.showModal();
  opened.querySelector('input:not([type=hidden]), select, textarea')?.focus();
  return close;
}

/**
 * Asks once more before something is done that cannot be undone.
 *
 * @param {string} title
 * @param {string} words
 * @param {string} verb
 * @param {() => Promise<void>} work
 */
export function sure(title, words, verb, work) {
  dialog(title, (close) => {
    const fault = el('p', { class: 'trouble', role: 'alert', hidden: true });
    const done = async () => {
      try {
        await work();
        close();
      } catch (error) {
        fault.textContent = error.message;
        fault.hidden = false;
      }
    };
    return [
      el('p', {}, words),
      fault,
      el('div', { class: 'buttons' }, worker(verb, done, { class: 'danger' }), button('Cancel', close)),
    ];
  });
}
