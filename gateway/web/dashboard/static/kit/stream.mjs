/** A streamed answer, read as it comes: https://html.spec.whatwg.org/multipage/server-sent-events.html. */

/** What the events of a stream hold, however the network cuts its text. */
export class Frames {
  constructor() {
    this.rest = '';
  }

  /**
   * @param {string} text
   * @returns {string[]} the data of each event that is complete now
   */
  push(text) {
    const parts = (this.rest + text).split(/\r\n\r\n|\n\n|\r\r/);
    this.rest = parts.pop() ?? '';
    return parts.map(dataOf).filter(Boolean);
  }
}

const dataOf = (frame) =>
  frame
    .split(/\r\n|\n|\r/)
    .filter((line) => line.startsWith('data:'))
    .map((line) => line.slice(5).replace(/^ /, ''))
    .join('\n');

/**
 * The chunks of a chat completion.
 *
 * @param {ReadableStream<Uint8Array>} body
 * @returns {AsyncGenerator<any>}
 */
export async function* chunks(body) {
  const frames = new Frames();
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    for (const data of frames.push(value)) {
      if (data !== '[DONE]') yield JSON.parse(data);
    }
  }
}
