/** The admin API, asked with the token of whoever has signed in. Addresses are relative to the page. */

/** What is wrong with a field, or with the file. @typedef {{param?: string, path?: string, message: string}} Fault */

/** An answer that is none. Its message is for whoever asked. */
export class Refused extends Error {
  /**
   * @param {number} status 0: there was no answer
   * @param {{message: string, code?: string, param?: string, details?: Fault[]}} said
   */
  constructor(status, said) {
    super(said.message);
    this.status = status;
    this.code = said.code ?? '';
    this.faults = said.details ?? (said.param ? [{ param: said.param, message: said.message }] : []);
  }
}

export class Api {
  /**
   * @param {string} token
   * @param {() => void} over called when the token is not valid any more
   */
  constructor(token, over) {
    this.token = token;
    this.over = over;
  }

  /** @param {string} path @param {Record<string, any>} [query] @returns {Promise<any>} */
  get(path, query = {}) {
    return this.json('GET', path, { query });
  }

  /** @param {string} path @param {any} [body] @param {number} [version] @returns {Promise<any>} */
  post(path, body = {}, version) {
    return this.json('POST', path, { body, version });
  }

  /** @param {string} path @param {any} body a JSON merge patch @param {number} [version] @returns {Promise<any>} */
  patch(path, body, version) {
    return this.json('PATCH', path, { body, version });
  }

  /** @param {string} path @param {number} [version] @returns {Promise<any>} */
  delete(path, version) {
    return this.json('DELETE', path, { version });
  }

  /** @param {string} path @param {Record<string, any>} query @returns {Promise<Blob>} */
  async file(path, query) {
    return (await this.ask('GET', path, { query })).blob();
  }

  async json(method, path, asked) {
    const answer = await this.ask(method, path, asked);
    return answer.status === 204 ? null : answer.json();
  }

  /** @returns {Promise<Response>} */
  async ask(method, path, { query = {}, body = undefined, version = undefined }) {
    const headers = { authorization: `Bearer ${this.token}` };
    if (body !== undefined) headers['content-type'] = 'application/json';
    // Who changes something has looked at it: what somebody else has changed meanwhile is not overwritten.
    if (typeof version === 'number') headers['if-match'] = `"${version}"`;
    const sent = { method, headers, body: body === undefined ? undefined : JSON.stringify(body) };
    const answer = await reached(fetch(`api/${path}${search(query)}`, { ...sent, cache: 'no-store' }));
    if (answer.status === 401) this.over();
    if (!answer.ok) throw await refusal(answer);
    return answer;
  }
}

/**
 * Steps of a path: names may hold anything.
 *
 * @param {...string} steps
 */
export const path = (...steps) => steps.map(encodeURIComponent).join('/');

/**
 * What an answer with an error says, also where it is not the gateway's own.
 *
 * @param {Response} answer
 */
export async function refusal(answer) {
  try {
    const { error } = await answer.json();
    if (error?.message) return new Refused(answer.status, error);
  } catch {
    // A proxy's own page.
  }
  return new Refused(answer.status, { message: `The answer was ${answer.status} ${answer.statusText}`.trim() + '.' });
}

/**
 * An answer, or why there is none. A request that was given up stays what it is.
 *
 * @param {Promise<Response>} asked
 */
export async function reached(asked) {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new Refused(0, { message: 'The gateway cannot be reached. Is it running, and are you online?' });
  }
}

function search(query) {
  const given = Object.entries(query).filter(([, value]) => value !== '' && value !== null && value !== undefined);
  return given.length ? `?${new URLSearchParams(Object.fromEntries(given))}` : '';
}
