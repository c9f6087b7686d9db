// What a page tries at keywheel from its own origin. Each attempt's outcome is sent to the page's server: what
// the page could read, or the name of the error that the browser gave it instead.
const given = await (await fetch('/given')).json();
const { api, key, narrowed } = given;
const bearer = { authorization: `Bearer ${key}` };
const json = { ...bearer, 'content-type': 'application/json' };
const chat = (model, more = {}) => JSON.stringify({ model, messages: [{ role: 'user', content: 'hi' }], ...more });
const post = (body, headers = json, more = {}) => fetch(`${api}/chat/completions`, { method: 'POST', headers, body, ...more });

async function read(answer) {
    const text = await answer.text();
    return { status: answer.status, headers: Object.fromEntries(answer.headers), bytes: text.length, text };
}

const tries = {
    plain: async () => read(await post(chat('m'))),
    refused_by_upstream: async () => read(await post(chat('mock-status-400'))),
    refused_by_us: async () => read(await post(chat('m'), { ...json, authorization: 'Bearer sk-nobody' })),
    headers_of_many_kinds: async () => read(await post(chat('m'), { ...json, 'x-stainless-retry-count': '0',
        'idempotency-key': 'a-1', 'openai-beta': 'x', 'x-own_header': '1' })),
    async streamed() {
        const answer = await post(chat('mock-pace-5-tokens-30', { stream: true }));
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        let reads = 0, text = '';
        for (let part; !(part = await reader.read()).done; ++reads) text += part.value;
        return { status: answer.status, type: answer.headers.get('content-type'), reads, text };
    },
    // The first event comes long before the end would: the page goes away in between.
    async streamed_and_left() {
        const leave = new AbortController();
        const answer = await post(chat('mock-pace-500-tokens-60', { stream: true }), json, { signal: leave.signal });
        const first = await answer.body.getReader().read();
        leave.abort();
        return { status: answer.status, bytes: first.value.length };
    },
    async file() {
        const form = new FormData();
        form.append('purpose', 'user_data');
        form.append('file', new Blob(['abc']), 'a.txt');
        const made = await (await fetch(`${api}/files`, { method: 'POST', headers: bearer, body: form })).json();
        const gone = await fetch(`${api}/files/${made.id}`, { method: 'DELETE', headers: bearer });
        return { made: made.id, status: gone.status, deleted: (await gone.json()).deleted };
    },
    // The official SDK as a page loads it.
    async sdk() {
        const { default: OpenAI } = await import('/openai/index.mjs');
        const ai = new OpenAI({ apiKey: key, baseURL: api, dangerouslyAllowBrowser: true, maxRetries: 0 });
        let text = '', events = 0;
        for await (const event of await ai.chat.completions.create(
            { model: 'mock-tokens-9', stream: true, messages: [{ role: 'user', content: 'hi' }] })) {
            text += event.choices[0]?.delta?.content ?? '';
            events += 1;
        }
        const { data, request_id } = await ai.models.list().withResponse();
        return { text, events, models: data.data.length, request_id };
    },
    socket: () => new Promise((resolve) => {
        const s = new WebSocket(`${api.replace('http', 'ws')}/realtime?model=mock-realtime`,
            ['realtime', `openai-insecure-api-key.${key}`]);
        s.onmessage = (event) => { resolve({ type: JSON.parse(event.data).type, protocol: s.protocol }); s.close(); };
        s.onerror = () => resolve({ error: 'error' });
    }),
    me: async () => read(await fetch(`${api}/keywheel/me`, { headers: bearer })),
    // With what the browser itself keeps (cookies) nobody may.
    with_credentials: async () => read(await post(chat('m'), json, { credentials: 'include' })),
    // No preflight is made for this one.
    simple: async () => read(await post(chat('m'), { 'content-type': 'text/plain' })),
    health: async () => read(await fetch(new URL('/healthz', api))),
    admin: async () => read(await fetch(new URL('/admin/keys', api), { headers: { 'x-admin-key': given.admin } })),
    narrowed: async () => read(await post(chat('m'), { ...json, authorization: `Bearer ${narrowed}` })),
    // A frame without an origin of its own sends `Origin: null`.
    nowhere: () => new Promise((resolve) => {
        const frame = document.createElement('iframe');
        frame.sandbox = 'allow-scripts';
        addEventListener('message', (event) => resolve(event.data), { once: true });
        frame.srcdoc = `<script>fetch(${JSON.stringify(`${api}/models`)}, { headers: ${JSON.stringify(bearer)} })
            .then((a) => parent.postMessage({ status: a.status }, '*'), (e) => parent.postMessage({ error: e.name }, '*'))
            </script>`.replaceAll('\n', ' ');
        document.body.append(frame);
    }),
};

const outcome = {};
for (const [name, attempt] of Object.entries(tries)) {
    try {
        outcome[name] = await attempt();
    } catch (error) {
        outcome[name] = { error: error.name, message: String(error.message) };
    }
}
await fetch('/outcome', { method: 'POST', body: JSON.stringify(outcome) });
