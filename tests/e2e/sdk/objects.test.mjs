// What the official Node SDK makes in an account and finds again, each call through another of the
// base URLs in turn.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toFile } from 'openai';
import { client } from './client.mjs';

const model = 'gpt-4o-mini';
const clients = process.env.BASE_URLS.split(',').map((baseURL) => client({ baseURL }));
let turn = 0;
const ai = () => clients[turn++ % clients.length];
// In the middle of a flow the first replica is killed and started again.
const restart = async () => assert.equal((await fetch(process.env.RESTART_URL)).status, 200);

async function ids(page) {
    const all = [];
    for await (const item of page) all.push(item.id);
    return all;
}
const upload = async (purpose) =>
    (await ai().files.create({ file: await toFile(Buffer.from('{"custom_id":"1"}\n'), 'a.jsonl'), purpose })).id;
const mine = (all, made) => all.filter((id) => made.includes(id));

test('files', async () => {
    const made = [];
    for (let i = 0; i < 5; ++i) made.push(await upload('batch'));
    await restart();
    for (const id of made) {
        assert.equal((await ai().files.retrieve(id)).id, id);
        assert.ok((await (await ai().files.content(id)).text()).length > 0);
    }
    assert.deepEqual(mine(await ids(ai().files.list({ limit: 2 })), made), [...made].reverse());
    assert.ok((await ai().files.delete(made[0])).deleted);
});

test('uploads, batches and fine-tuning jobs', async () => {
    const parts = [];
    const big = await ai().uploads.create({ bytes: 6, filename: 'b', mime_type: 'text/plain', purpose: 'assistants' });
    for (let i = 0; i < 2; ++i) {
        const data = await toFile(Buffer.from('abc'), 'part');
        parts.push((await ai().uploads.parts.create(big.id, { data })).id);
        if (i === 0) await restart();
    }
    const whole = await ai().uploads.complete(big.id, { part_ids: parts });
    assert.equal((await ai().files.retrieve(whole.file.id)).id, whole.file.id);
    const batch = await ai().batches.create(
        { input_file_id: await upload('batch'), endpoint: '/v1/responses', completion_window: '24h' });
    await restart();
    const output = (await ai().batches.retrieve(batch.id)).output_file_id;
    assert.ok((await (await ai().files.content(output)).text()).length > 0);
    assert.ok((await ids(ai().batches.list({ limit: 1 }))).includes(batch.id));
    const job = await ai().fineTuning.jobs.create({ model, training_file: await upload('fine-tune') });
    assert.ok((await ids(ai().fineTuning.jobs.listEvents(job.id))).length > 0);
    assert.ok((await ids(ai().fineTuning.jobs.list({ limit: 1 }))).includes(job.id));
});

test('vector stores and containers', async () => {
    const store = await ai().vectorStores.create({ name: 's' });
    const file = await upload('assistants');
    await restart();
    await ai().vectorStores.files.create(store.id, { file_id: file });
    assert.deepEqual(await ids(ai().vectorStores.files.list(store.id)), [file]);
    assert.ok((await ids(ai().vectorStores.list({ limit: 1 }))).includes(store.id));
    await ai().vectorStores.delete(store.id);
    const box = await ai().containers.create({ name: 'c' });
    await ai().containers.files.create(box.id, { file_id: file });
    assert.ok((await ids(ai().containers.list({ limit: 1 }))).includes(box.id));
});

test('responses and conversations', async () => {
    let before;
    for (let i = 0; i < 6; ++i) {
        if (i === 3) await restart();
        const stream = await ai().responses.create(
            { model, input: 'x', stream: true, ...(before ? { previous_response_id: before } : {}) });
        for await (const event of stream)
            if (event.type === 'response.completed') before = event.response.id;
        assert.equal((await ai().responses.retrieve(before)).id, before);
    }
    const talk = await ai().conversations.create({});
    await restart();
    await ai().responses.create({ model, input: 'x', conversation: talk.id });
    assert.equal((await ai().conversations.retrieve(talk.id)).id, talk.id);
});

test('assistants and evals', async () => {
    const { assistants, threads } = { get assistants() { return ai().beta.assistants; }, get threads() { return ai().beta.threads; } };
    const helper = await assistants.create({ model, name: 'n' });
    const thread = await threads.create({});
    await restart();
    await ai().beta.threads.messages.create(thread.id, { role: 'user', content: 'hi' });
    const run = await ai().beta.threads.runs.createAndPoll(thread.id, { assistant_id: helper.id });
    assert.equal(run.status, 'completed');
    assert.ok((await ids(ai().beta.threads.runs.steps.list(run.id, { thread_id: thread.id }))).length > 0);
    const made = await ai().evals.create({ name: 'e', data_source_config: { type: 'logs' }, testing_criteria: [] });
    await restart();
    const source = { type: 'jsonl', source: { type: 'file_id', id: await upload('evals') } };
    const tried = await ai().evals.runs.create(made.id, { data_source: source });
    assert.equal((await ai().evals.runs.retrieve(tried.id, { eval_id: made.id })).id, tried.id);
});

test('videos', async () => {
    const made = [];
    for (let i = 0; i < 7; ++i) made.push((await ai().videos.create({ prompt: 'p', model: 'sora-2' })).id);
    await restart();
    for (const id of made) assert.equal((await ai().videos.retrieve(id)).id, id);
    assert.deepEqual(mine(await ids(ai().videos.list({ limit: 3 })), made), [...made].reverse());
});
