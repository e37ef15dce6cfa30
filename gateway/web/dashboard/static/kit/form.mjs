/** Forms: fields with labels, and complaints where they belong. */

import { el } from './dom.mjs';
import { busy } from './parts.mjs';

/**
 * @typedef {object} Field
 * @property {string} name as the API has it: `limits.requests_per_minute`
 * @property {string} label
 * @property {'text' | 'password' | 'number' | 'date' | 'checkbox' | 'area' | 'select'} [kind]
 * @property {string | number | boolean | null} [value]
 * @property {string} [hint]
 * @property {string} [placeholder]
 * @property {[string, string][]} [options] of a select: what is sent, and what is shown
 * @property {string[]} [known] what may be meant: a list to choose from while typing
 * @property {boolean} [required]
 */

let made = 0;

/** @param {Field} wanted */
export function field(wanted) {
  const { name, label, kind = 'text', hint, known } = wanted;
  const id = `field-${(made += 1)}`;
  const control = controls(kind, { ...wanted, id, list: known && `${id}-known` });
  const more = [
    hint && el('small', { id: `${id}-hint` }, hint),
    el('small', { class: 'fault', id: `${id}-fault`, 'data-fault': name }),
    known &&
      el(
        'datalist',
        { id: `${id}-known` },
        known.map((each) => el('option', { value: each })),
      ),
  ];
  const words = el('label', { for: id }, label);
  return el('div', { class: `field ${kind}` }, kind === 'checkbox' ? [control, words] : [words, control], more);
}

function controls(kind, { name, id, value, placeholder, options, required, list, hint }) {
  const told = `${hint ? `${id}-hint ` : ''}${id}-fault`;
  const own = {
    name,
    id,
    required,
    placeholder,
    list,
    'aria-describedby': told,
    autocomplete: 'off',
    spellcheck: 'false',
  };
  if (kind === 'select') {
    return el(
      'select',
      own,
      options.map(([sent, shown]) => el('option', { value: sent, selected: sent === value }, shown)),
    );
  }
  if (kind === 'area') return el('textarea', { ...own, rows: 4 }, value ?? '');
  if (kind === 'checkbox') return el('input', { ...own, type: kind, checked: Boolean(value) });
  // A password manager would offer to keep what is typed here, and offer one of another place.
  return el('input', {
    ...own,
    type: kind,
    value: value ?? '',
    autocomplete: kind === 'password' ? 'new-password' : 'off',
  });
}

/**
 * @param {string} verb what its button says
 * @param {(values: Record<string, any>) => Promise<void>} send
 * @param {import('./dom.mjs').Child[]} fields
 * @param {import('./dom.mjs').Child} [others] buttons beside the first
 * @returns {HTMLFormElement}
 */
export function form(verb, send, fields, others) {
  const submit = el('button', { class: 'first' }, verb);
  const whole = el(
    'form',
    { class: 'form', novalidate: true },
    el('p', { class: 'trouble', role: 'alert', hidden: true, 'data-fault': '' }),
    fields,
    el('div', { class: 'buttons' }, submit, others),
  );
  whole.addEventListener('submit', (event) => {
    event.preventDefault();
    busy(submit, () => tried(whole, () => send(values(whole))));
  });
  return whole;
}

/** @param {HTMLFormElement} whole @returns {Record<string, any>} what stands in it, by name */
export function values(whole) {
  const controls = [...whole.elements].filter((each) => each instanceof HTMLElement && 'name' in each && each.name);
  return Object.fromEntries(
    controls
      .filter((each) => each.type !== 'radio' || each.checked)
      .map((each) => [each.name, each.type === 'checkbox' ? each.checked : each.value.trim()]),
  );
}

/** Does something with what stands in a form, and tells what was wrong with it. @param {HTMLFormElement} whole */
export async function tried(whole, work) {
  complain(whole, { message: '', faults: [] });
  try {
    await work();
  } catch (error) {
    complain(whole, error);
  }
}

/** @param {HTMLFormElement} whole @param {{message: string, faults?: import('./api.mjs').Fault[]}} error */
function complain(whole, error) {
  const places = [...whole.querySelectorAll('[data-fault]')];
  for (const place of places) place.textContent = '';
  const homeless = [];
  for (const { param, message } of error.faults ?? []) {
    const place = placeOf(places, param ?? '');
    if (place) place.textContent = message;
    else homeless.push(param ? `${param} ${message}` : message);
  }
  const placed = (error.faults ?? []).length > homeless.length;
  const [top] = places;
  top.textContent = homeless.join('; ') || (placed ? 'This cannot be saved yet: see below.' : error.message);
  top.hidden = !top.textContent;
  mark(whole, places);
}

/** `models[0]` is told at `models`, and `limits` at nothing that only begins so. */
function placeOf(places, param) {
  return (
    param &&
    places.find(
      ({ dataset }) =>
        dataset.fault &&
        (param === dataset.fault ||
          (/^[.[]/.test(param.slice(dataset.fault.length)) && param.startsWith(dataset.fault))),
    )
  );
}

function mark(whole, places) {
  const wrong = new Set(places.filter((place) => place.textContent).map((place) => place.dataset.fault));
  const controls = [...whole.elements].filter((each) => each.name);
  for (const control of controls) control.toggleAttribute('aria-invalid', wrong.has(control.name));
  const first = controls.find((control) => wrong.has(control.name));
  first?.closest('details')?.setAttribute('open', '');
  first?.focus();
}
