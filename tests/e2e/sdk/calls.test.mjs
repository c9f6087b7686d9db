// Every kind of call that applications make through the official SDK.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toFile } from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { client, say } from './client.mjs';

const openai = client();
const model = 'gpt-4o-mini';

test('chat', async () => {
    const { data, response } = await openai.chat.completions
        .create({ model, messages: say('hello') })
        .withResponse();
    assert.equal(data.object, 'chat.completion');
    assert.ok(data.choices[0].message.content.length > 0);
    assert.ok(data.usage.total_tokens > 0);
    assert.ok(response.headers.get('x-keywheel-request-id'));
    assert.equal(response.headers.get('x-keywheel-attempts'), '1');
    assert.ok(response.headers.get('x-keywheel-key'));
    assert.ok(Number(response.headers.get('x-keywheel-overhead-us')) >= 0);
    assert.match(response.headers.get('x-request-id'), /^mock-/);
});

test('streamed chat', async () => {
    const stream = await openai.chat.completions.create({ model, messages: say('count'), stream: true });
    let text = '';
    let finish;
    for await (const chunk of stream) {
        assert.notEqual(chunk.choices.length, 0, 'a usage chunk that was not asked for');
        text += chunk.choices[0].delta.content ?? '';
        finish = chunk.choices[0].finish_reason ?? finish;
    }
    assert.ok(text.length > 0);
    assert.equal(finish, 'stop');
});

test('streamed chat with usage', async () => {
    const stream = await openai.chat.completions.create({
        model, messages: say('count'), stream: true, stream_options: { include_usage: true },
    });
    let usage;
    for await (const chunk of stream) usage = chunk.usage ?? usage;
    assert.ok(usage.completion_tokens > 0);
});

test('stream and plain answer say the same', async () => {
    const options = { headers: { 'x-test-id': 'same' } };
    const plain = await openai.chat.completions.create({ model, messages: say('same') }, options);
    const runner = openai.chat.completions.stream({ model, messages: say('same') }, options);
    const whole = await runner.finalChatCompletion();
    assert.ok(whole.choices[0].message.content.length > 0);
    assert.equal(typeof plain.choices[0].message.content, 'string');
});

test('tools', async () => {
    const tools = [{
        type: 'function',
        function: {
            name: 'weather',
            parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
        },
    }];
    const answer = await openai.chat.completions.create({ model, messages: say('weather?'), tools });
    const call = answer.choices[0].message.tool_calls[0];
    assert.equal(call.function.name, 'weather');
    JSON.parse(call.function.arguments);
    assert.equal(answer.choices[0].finish_reason, 'tool_calls');

    const streamed = openai.chat.completions.stream({ model, messages: say('weather?'), tools });
    const final = await streamed.finalChatCompletion();
    assert.equal(final.choices[0].message.tool_calls[0].function.name, 'weather');
});

test('structured output', async () => {
    const format = zodResponseFormat(z.object({ name: z.string(), age: z.number() }), 'person');
    const answer = await openai.chat.completions.parse({ model, messages: say('who?'), response_format: format });
    assert.equal(typeof answer.choices[0].message.parsed.name, 'string');
    assert.equal(typeof answer.choices[0].message.parsed.age, 'number');
});

test('legacy completions', async () => {
    const answer = await openai.completions.create({ model: 'gpt-3.5-turbo-instruct', prompt: 'once' });
    assert.ok(answer.choices[0].text.length > 0);
});

test('embeddings', async () => {
    // The SDK asks for base64 by itself and decodes it.
    const answer = await openai.embeddings.create({ model: 'text-embedding-3-small', input: 'word', dimensions: 64 });
    assert.equal(answer.data[0].embedding.length, 64);
    assert.ok(answer.data[0].embedding.every(Number.isFinite));
    assert.ok(answer.usage.prompt_tokens > 0);
});

test('responses', async () => {
    const answer = await openai.responses.create({ model, input: 'hello' });
    assert.equal(answer.status, 'completed');
    assert.ok(answer.output_text.length > 0);
    assert.ok(answer.usage.output_tokens > 0);
});

test('streamed responses', async () => {
    const stream = await openai.responses.create({ model, input: 'hello', stream: true });
    const types = [];
    let last;
    for await (const event of stream) {
        types.push(event.type);
        last = event;
    }
    assert.equal(types[0], 'response.created');
    assert.ok(types.includes('response.output_text.delta'));
    assert.equal(last.type, 'response.completed');
    assert.ok(last.response.usage.output_tokens > 0);
});

test('images', async () => {
    const answer = await openai.images.generate({ model: 'gpt-image-1', prompt: 'a wheel' });
    assert.ok(answer.data.length > 0);
});

test('image edit, multipart', async () => {
    const image = await toFile(Buffer.alloc(4096, 7), 'wheel.png', { type: 'image/png' });
    const answer = await openai.images.edit({ model: 'gpt-image-1', image, prompt: 'turn it' });
    assert.ok(answer.data.length > 0);
});

test('speech download', async () => {
    const answer = await openai.audio.speech.create({ model: 'tts-1', voice: 'alloy', input: 'hello' });
    const bytes = Buffer.from(await answer.arrayBuffer());
    assert.equal(bytes.length, 64 * 1024);
});

test('model list and one model', async () => {
    const names = [];
    for await (const entry of openai.models.list()) names.push(entry.id);
    assert.ok(names.length > 0);
    assert.equal((await openai.models.retrieve(names[0])).id, names[0]);
});

test('files: create, list, retrieve, delete', async () => {
    const file = await openai.files.create({
        file: await toFile(Buffer.from('{"a":1}\n'), 'a.jsonl'), purpose: 'batch',
    });
    assert.equal(file.bytes, 8);
    assert.equal((await openai.files.retrieve(file.id)).id, file.id);
    assert.equal((await openai.files.delete(file.id)).deleted, true);
});

test('moderations', async () => {
    const answer = await openai.moderations.create({ input: 'a calm sentence' });
    assert.equal(answer.results.length, 1);
});

test('abort in mid-stream', async () => {
    const stream = await openai.chat.completions.create({
        model: 'mock-pace-20-tokens-500-abort', messages: say('long'), stream: true,
    });
    let seen = 0;
    for await (const chunk of stream) {
        assert.ok(chunk);
        if (++seen === 5) break;
    }
    assert.equal(seen, 5);
    // The next request finds a healthy proxy.
    assert.ok((await openai.chat.completions.create({ model, messages: say('again') })).id);
});

test('many at once', async () => {
    const answers = await Promise.all(
        Array.from({ length: 100 }, (_, i) => openai.chat.completions.create({ model, messages: say(`n ${i}`) })),
    );
    assert.equal(new Set(answers.map((answer) => answer.id)).size, 100);
});
