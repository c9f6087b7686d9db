// The official SDK's realtime and responses sockets, and a browser's way with a subprotocol. The
// `ws` package under them offers permessage-deflate of its own accord.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { ResponsesWS } from 'openai/resources/responses/ws';
import { WebSocket } from 'ws';
import { client } from './client.mjs';

const openai = client();

// The next event of a type from either of the SDK's emitters.
function next(emitter, type) {
    return new Promise((resolve, reject) => {
        emitter.on('error', reject);
        emitter.on(type, resolve);
    });
}

async function closed(socket) {
    const [code, reason] = await once(socket, 'close');
    return { code, reason: reason.toString() };
}

test('a realtime session with text and a megabyte of audio both ways', async () => {
    const rt = await OpenAIRealtimeWS.create(openai, { model: 'mock-realtime' });
    const created = await next(rt, 'session.created');
    assert.equal(created.session.model, 'mock-realtime');
    assert.equal(rt.socket.extensions, '');
    for (let turn = 0; turn < 3; turn++) {
        let text = '';
        rt.on('response.output_text.delta', (event) => { text += event.delta; });
        const done = next(rt, 'response.done');
        rt.send({ type: 'input_audio_buffer.append', audio: 'A'.repeat(1 << 20) });
        rt.send({ type: 'response.create', response: { audio: 1 << 20, tokens: 10 } });
        const { response } = await done;
        assert.equal(response.status, 'completed');
        assert.ok(response.usage.input_token_details.audio_tokens >= 163);
        assert.ok(text.length > 0);
    }
    const transcribed = next(rt, 'conversation.item.input_audio_transcription.completed');
    rt.send({ type: 'input_audio_buffer.append', audio: 'A'.repeat(64000) });
    rt.send({ type: 'input_audio_buffer.commit' });
    assert.equal((await transcribed).usage.type, 'tokens');
    const over = closed(rt.socket);
    rt.close({ code: 1000, reason: 'OK' });
    assert.equal((await over).code, 1000);
});

test('the responses socket', async () => {
    const rs = new ResponsesWS(openai);
    let last;
    for (let turn = 0; turn < 3; turn++) {
        const done = next(rs, 'response.completed');
        rs.send({ type: 'response.create', model: 'mock-m', input: 'hello', tokens: 5, previous_response_id: last });
        const { response } = await done;
        last = response.id;
        assert.equal(response.usage.output_tokens, 5);
    }
    rs.close();
});

test('a browser has only the subprotocol for its key', async () => {
    const url = process.env.BASE_URL.replace('https', 'wss') + '/realtime?model=mock-realtime';
    const ws = new WebSocket(url, ['realtime', `openai-insecure-api-key.${process.env.ACCESS_KEY}`]);
    const [first] = await once(ws, 'message');
    assert.equal(JSON.parse(first).type, 'session.created');
    assert.equal(ws.protocol, 'realtime');
    const over = closed(ws);
    ws.send(JSON.stringify({ type: 'mock.close', code: 4002, reason: 'enough' }));
    assert.deepEqual(await over, { code: 4002, reason: 'enough' });
});

test('a wrong key is a plain 401', async () => {
    const url = process.env.BASE_URL.replace('https', 'wss') + '/realtime?model=mock-realtime';
    const ws = new WebSocket(url, ['realtime', 'openai-insecure-api-key.sk-wrong']);
    ws.on('error', () => {});
    const [, answer] = await once(ws, 'unexpected-response');
    assert.equal(answer.statusCode, 401);
    answer.destroy();
});
