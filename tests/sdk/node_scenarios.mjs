// What people do with the official Node SDK, against a gateway as `runs` sets it up: `python_scenarios.py` again.
//
//     node node_scenarios.mjs BASE_URL API_KEY
//
// Prints a line of JSON for each scenario: its name, whether it went well, and if not, why. The SDK is the one in the
// `node_modules` of the directory this is started in; an `import` would look for it beside this file.
// https://github.com/openai/openai-node

import assert from "node:assert/strict";
import { createRequire } from "node:module";

const require = createRequire(`${process.cwd()}/`);
const { OpenAI, AzureOpenAI, ...errors } = require("openai");
const { makeParseableResponseFormat } = require("openai/lib/parser");

const TEXT = "one two three four five six seven eight nine ten";
const ANSWER = `You said: ${TEXT}`;
// What line-by-line readers, normalisers and escapers stumble over.
const ODD_TEXT =
  "Zürich 東京 👩\u200d👧 e\u0301 \u2028\u2029\x85\x00\ufeff\r\n\t \\u2028 \"'</script>\n\ndata: [DONE]\n\n";

const ARGUMENTS = { city: "Zürich", days: 1 };
const TOOLS = [tool("get_weather"), tool("get_traffic")];

const scenarios = {
  // Answers

  async "a question is answered"(client) {
    const completion = await ask(client);
    const [choice] = completion.choices;
    assert.deepEqual([completion.object, completion.model], ["chat.completion", "gpt-4o"]);
    assert.deepEqual([choice.message.role, choice.message.content], ["assistant", ANSWER]);
    assert.equal(choice.finish_reason, "stop");
    addsUp(completion.usage);
  },

  async "headers tell who answered"(client) {
    const { data, response } = await ask(client).withResponse();
    assert.equal(response.headers.get("x-gateway-provider"), "good");
    assert.equal(response.headers.get("x-gateway-model"), "gpt-4o");
    assert.equal(response.headers.get("x-gateway-attempts"), "1");
    assert.equal(data._request_id, response.headers.get("x-request-id"));
  },

  async "headers tell of a failover"(client) {
    const { data, response } = await ask(client, { model: "second-choice" }).withResponse();
    assert.equal(response.headers.get("x-gateway-provider"), "good");
    assert.equal(response.headers.get("x-gateway-attempts"), "2");
    assert.equal(data.choices[0].message.content, ANSWER);
  },

  async "a request id of the clients own is kept"(client) {
    const completion = await ask(client, {}, { headers: { "x-request-id": "order-66.b" } });
    assert.equal(completion._request_id, "order-66.b");
  },

  async "two choices are told apart"(client) {
    const completion = await ask(client, { n: 2 });
    const whole = completion.choices.map((choice) => [choice.index, choice.message.content]);
    assert.deepEqual(whole, [[0, ANSWER], [1, ANSWER]]);
    const streamed = ["", ""];
    for await (const chunk of await ask(client, { n: 2, stream: true })) {
      for (const choice of chunk.choices) streamed[choice.index] += choice.delta.content ?? "";
    }
    assert.deepEqual(streamed, [ANSWER, ANSWER]);
  },

  async "images reach the model"(client) {
    const content = [
      { type: "text", text: "what is this?" },
      { type: "image_url", image_url: { url: "data:image/png;base64,iVBORw0KGgo=", detail: "low" } },
      { type: "image_url", image_url: { url: "https://example.com/cat.jpg?size=1&x=%20" } },
    ];
    const completion = await ask(client, { messages: user(content) });
    assert.equal(completion.choices[0].message.content, "You said: what is this? (2 images)");
  },

  async "any text survives"(client) {
    const completion = await ask(client, { messages: user(ODD_TEXT) });
    assert.equal(completion.choices[0].message.content, `You said: ${ODD_TEXT}`);
    const stream = await ask(client, { messages: user(ODD_TEXT), stream: true });
    assert.equal(spoken(await all(stream)), `You said: ${ODD_TEXT}`);
  },

  async "a message of a megabyte survives"(client) {
    const text = "x".repeat(2 ** 20);
    const completion = await ask(client, { messages: user(text) });
    assert.ok(completion.choices[0].message.content === `You said: ${text}`);
  },

  // Streams

  async "a stream is the whole answer"(client) {
    const chunks = await all(await ask(client, { stream: true }));
    assert.equal(spoken(chunks), ANSWER);
    assert.equal(chunks[0].choices[0].delta.role, "assistant");
    const reasons = chunks.map((chunk) => chunk.choices[0].finish_reason);
    assert.deepEqual(reasons, [...Array(chunks.length - 1).fill(null), "stop"]);
    assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
  },

  async "a stream with usage ends with it"(client) {
    const chunks = await all(await ask(client, { stream: true, stream_options: { include_usage: true } }));
    const last = chunks.pop();
    assert.deepEqual(last.choices, []);
    addsUp(last.usage);
    assert.deepEqual(chunks.filter((chunk) => chunk.usage), []);
  },

  async "a stream without usage has none"(client) {
    const chunks = await all(await ask(client, { stream: true }));
    assert.ok(chunks.length > 0);
    assert.deepEqual(chunks.filter((chunk) => "usage" in chunk || chunk.choices.length !== 1), []);
  },

  async "the stream helper gathers the answer"(client) {
    const stream = gathering(client, { stream_options: { include_usage: true } });
    let heard = "";
    stream.on("content", (delta) => (heard += delta));
    const completion = await stream.finalChatCompletion();
    assert.equal(heard, ANSWER);
    assert.equal(completion.choices[0].message.content, ANSWER);
    assert.equal(completion.choices[0].finish_reason, "stop");
    addsUp(completion.usage);
  },

  async "an error inside a stream is raised"(client) {
    let heard = "";
    const error = await failure(errors.APIError, async () => {
      for await (const chunk of await ask(client, { model: "cut", stream: true })) {
        heard += chunk.choices[0].delta.content ?? "";
      }
    });
    assert.equal(error.code, "upstream_stream_truncated");
    assert.equal(heard, ANSWER.slice(0, heard.length || 1));
  },

  async "heartbeats are not heard"(client) {
    const { data, response } = await ask(client, { model: "thinking", stream: true }).withResponse();
    assert.ok(!response.headers.has("x-gateway-provider")); // they were sent before it was known who answers
    assert.equal(spoken(await all(data)), ANSWER);
  },

  async "an error after a heartbeat is raised"(client) {
    const stream = await ask(client, { model: "sorry", stream: true });
    const error = await failure(errors.APIError, () => all(stream));
    assert.equal(error.code, "upstream_error");
  },

  async "a stream may be left early"(client) {
    for await (const chunk of await ask(client, { model: "stalled", stream: true })) {
      assert.equal(chunk.object, "chat.completion.chunk");
      break;
    }
  },

  // Tools and structured output

  async "a tool is called and its result is taken"(client) {
    const tools = TOOLS.slice(0, 1);
    const { choices: [choice] } = await ask(client, { tools });
    const [call, ...others] = choice.message.tool_calls;
    assert.deepEqual(others, []);
    assert.deepEqual([call.type, call.function.name, choice.finish_reason], ["function", "get_weather", "tool_calls"]);
    assert.deepEqual(JSON.parse(call.function.arguments), ARGUMENTS);

    // The SDK's own message goes back as it is, empty fields included: its documentation does it so.
    const result = { role: "tool", tool_call_id: call.id, content: "sunny" };
    const completion = await ask(client, { messages: [...user(TEXT), choice.message, result], tools });
    assert.equal(completion.choices[0].message.content, "The tools answered: sunny");
  },

  async "parallel tools are streamed"(client) {
    const names = [], ids = [], joined = ["", ""], reasons = [];
    for (const { choices: [choice] } of await all(await ask(client, { tools: TOOLS, stream: true }))) {
      reasons.push(choice.finish_reason);
      for (const call of choice.delta.tool_calls ?? []) {
        names[call.index] ??= call.function.name;
        ids[call.index] ??= call.id;
        joined[call.index] += call.function.arguments;
      }
    }
    assert.deepEqual([names, new Set(ids).size], [["get_weather", "get_traffic"], 2]);
    assert.deepEqual(joined.map((text) => JSON.parse(text)), [ARGUMENTS, ARGUMENTS]);
    assert.equal(reasons.at(-1), "tool_calls");
  },

  async "the stream helper gathers tool calls"(client) {
    const { choices: [choice] } = await gathering(client, { tools: TOOLS }).finalChatCompletion();
    const calls = choice.message.tool_calls.map((call) => call.function);
    assert.deepEqual(calls.map((call) => call.name), ["get_weather", "get_traffic"]);
    assert.deepEqual(calls.map((call) => JSON.parse(call.arguments)), [ARGUMENTS, ARGUMENTS]);
  },

  async "json follows its schema"(client) {
    const completion = await ask(client, { response_format: placeFormat() });
    assert.deepEqual(JSON.parse(completion.choices[0].message.content), ARGUMENTS);
  },

  async "an answer is parsed into its type"(client) {
    const response_format = makeParseableResponseFormat(placeFormat(), (text) => new Map(Object.entries(JSON.parse(text))));
    const place = new Map(Object.entries(ARGUMENTS));
    const completion = await client.chat.completions.parse({ model: "gpt-4o", messages: user(TEXT), response_format });
    assert.deepEqual(completion.choices[0].message.parsed, place);
    const streamed = await gathering(client, { response_format }).finalChatCompletion();
    assert.deepEqual(streamed.choices[0].message.parsed, place);
  },

  // Models, and Azure's way of asking

  async "models are listed and found"(client) {
    const listed = (await all(await client.models.list())).map((model) => model.id);
    for (const name of ["gpt-4o", "meta/llama-3"]) {
      assert.ok(listed.includes(name));
      assert.equal((await client.models.retrieve(name)).id, name);
    }
    const error = await failure(errors.NotFoundError, () => client.models.retrieve("no-such-model"));
    assert.equal(error.code, "model_not_found");
  },

  async "the azure client is answered"(client) {
    const endpoint = client.baseURL.replace(/\/v1$/, "");
    const azure = new AzureOpenAI({ endpoint, apiKey: client.apiKey, apiVersion: "2024-10-21" });
    const completion = await ask(azure);
    assert.equal(completion.choices[0].message.content, ANSWER);
    assert.equal(spoken(await all(await ask(azure, { model: "meta/llama-3", stream: true }))), ANSWER);
  },

  // Errors

  async "a bad request names its parameter"(client) {
    const error = await failure(errors.BadRequestError, () => ask(client, { temperature: 3 }));
    assert.deepEqual([error.status, error.type, error.param], [400, "invalid_request_error", "temperature"]);
    assert.equal(error.requestID, error.headers.get("x-request-id"));
  },

  async "a providers bad request is passed on"(client) {
    const error = await failure(errors.BadRequestError, () => ask(client, { model: "picky" }));
    assert.equal(error.param, "messages.[0].content");
    assert.match(error.message, /expected a string, got null/);
  },

  async "a wrong key is an authentication error"(client) {
    const stranger = client.withOptions({ apiKey: "sk-of-someone-else" });
    const error = await failure(errors.AuthenticationError, () => ask(stranger));
    assert.equal(error.code, "invalid_api_key");
  },

  async "an unknown model is not found"(client) {
    const error = await failure(errors.NotFoundError, () => ask(client, { model: "no-such-model" }));
    assert.deepEqual([error.code, error.param], ["model_not_found", "model"]);
  },

  async "a body that is too large is told so"(client) {
    const messages = user("x".repeat(3 * 2 ** 20));
    const error = await failure(errors.APIError, () => ask(client, { messages }));
    assert.deepEqual([error.status, error.code], [413, "request_too_large"]);
    const completion = await ask(client); // what was left of it is not taken for the next request
    assert.equal(completion.choices[0].message.content, ANSWER);
  },

  async "a rate limit says when to come back"(client) {
    const error = await failure(errors.RateLimitError, () => ask(client, { model: "limited" }));
    assert.equal(error.code, "rate_limit_exceeded");
    assert.deepEqual([error.headers.get("retry-after"), error.headers.get("retry-after-ms")], ["1", "50"]);
  },

  async "a rate limit is waited out by the sdk"(client) {
    const since = performance.now();
    await failure(errors.RateLimitError, () => ask(client, { model: "busy" }, { maxRetries: 2 }));
    const waited = performance.now() - since;
    assert.ok(waited >= 90 && waited < 1000, `${waited} ms`); // by itself it would wait longer
  },

  async "what the gateway has retried is not retried again"(client) {
    const error = await failure(errors.InternalServerError, () => ask(client, { model: "unreachable" }, { maxRetries: 2 }));
    assert.deepEqual([error.status, error.code], [502, "upstream_unreachable"]);
    assert.equal(error.headers.get("x-should-retry"), "false");
  },

  async "failing providers are server errors"(client) {
    const told = {
      broken: [502, "upstream_error"],
      overloaded: [503, "upstream_error"],
      late: [504, "upstream_timeout"],
      // Here the gateway's own key is wrong: nobody must doubt the one they sent.
      locked: [502, "upstream_auth_error"],
    };
    for (const [model, expected] of Object.entries(told)) {
      const error = await failure(errors.InternalServerError, () => ask(client, { model }));
      assert.deepEqual([error.status, error.code], expected);
    }
  },

  async "the sdks own timeout ends the call"(client) {
    await failure(errors.APIConnectionTimeoutError, () => ask(client, { model: "silent" }, { timeout: 300 }));
  },
};

// What scenarios are made of

function user(content) {
  return [{ role: "user", content }];
}

function ask(client, options = {}, request = {}) {
  return client.chat.completions.create({ model: "gpt-4o", messages: user(TEXT), ...options }, request);
}

function gathering(client, options) {
  return client.chat.completions.stream({ model: "gpt-4o", messages: user(TEXT), ...options });
}

/** Takes a city; the simulator calls it with `ARGUMENTS`. */
function tool(name) {
  const properties = { city: { const: "Zürich" }, days: { type: "integer", minimum: 1 } };
  const parameters = { type: "object", properties, required: ["city"] };
  return { type: "function", function: { name, description: "By city.", parameters } };
}

function placeFormat() {
  const schema = tool("any").function.parameters;
  return { type: "json_schema", json_schema: { name: "place", schema, strict: true } };
}

async function all(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

function spoken(chunks) {
  return chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join("");
}

function addsUp(usage) {
  assert.ok(usage.prompt_tokens > 0 && usage.completion_tokens > 0);
  assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
}

/** The error of exactly this kind that the call rejects with. */
async function failure(kind, call) {
  try {
    await call();
  } catch (error) {
    if (error.constructor === kind) return error;
    throw error;
  }
  throw new assert.AssertionError({ message: `no ${kind.name} was raised` });
}

const [baseURL, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 20_000 });
for (const [name, tried] of Object.entries(scenarios)) {
  const problem = await tried(client).then(() => "", (error) => error.stack.slice(0, 2000));
  console.log(JSON.stringify({ name, ok: !problem, detail: problem }));
}
