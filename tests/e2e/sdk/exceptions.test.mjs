// Each status becomes the SDK's own exception class, and a cut stream never looks like success.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { client, say } from './client.mjs';

const openai = client();

const classes = {
    400: OpenAI.BadRequestError,
    401: OpenAI.AuthenticationError,
    402: OpenAI.APIError,
    403: OpenAI.PermissionDeniedError,
    404: OpenAI.NotFoundError,
    409: OpenAI.ConflictError,
    422: OpenAI.UnprocessableEntityError,
    429: OpenAI.RateLimitError,
    500: OpenAI.InternalServerError,
    503: OpenAI.InternalServerError,
};

for (const [status, kind] of Object.entries(classes)) {
    for (const stream of [false, true]) {
        test(`${status}${stream ? ', streamed' : ''}`, async () => {
            const asked = openai.chat.completions.create({
                model: `mock-status-${status}`, messages: say('x'), stream,
            });
            await assert.rejects(asked, (error) => {
                assert.ok(error instanceof kind, `${error.constructor.name}: ${error.message}`);
                assert.equal(error.status, Number(status));
                assert.ok(error.message.length > 0);
                assert.ok(error.requestID, 'no request id');
                return true;
            });
        });
    }
}

test('a wrong access key is 401 invalid_api_key', async () => {
    const stranger = client({ apiKey: 'sk-wrong' });
    await assert.rejects(stranger.chat.completions.create({ model: 'm', messages: say('x') }), (error) => {
        assert.ok(error instanceof OpenAI.AuthenticationError);
        assert.equal(error.code, 'invalid_api_key');
        return true;
    });
});

test('an unknown path reaches the upstream', async () => {
    await assert.rejects(openai.get('/no/such/path'), OpenAI.NotFoundError);
});

for (const fault of ['cut-10', 'cut_reset-10', 'error_event-10']) {
    test(`a stream broken by ${fault} raises`, async () => {
        const stream = await openai.chat.completions.create({
            model: `mock-tokens-60-${fault}`, messages: say('x'), stream: true,
        });
        let finished = false;
        await assert.rejects(async () => {
            for await (const chunk of stream) finished ||= chunk.choices[0]?.finish_reason === 'stop';
        }, (error) => {
            assert.ok(error instanceof OpenAI.APIError, `${error.constructor.name}: ${error.message}`);
            return true;
        });
        assert.equal(finished, false);
    });
}

test('a cut plain answer raises', async () => {
    await assert.rejects(openai.chat.completions.create({ model: 'mock-cut-1', messages: say('x') }));
});
