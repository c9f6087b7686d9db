// Large bodies: the proxy must pass them on without holding them.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createReadStream } from 'node:fs';
import { mkdtemp, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { toFile } from 'openai';
import { client } from './client.mjs';

const openai = client({ timeout: 180_000 });
const mib = 1024 * 1024;

function peakKiB() {
    const status = readFileSync(`/proc/${process.env.PROXY_PID}/status`, 'utf8');
    return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)[1]);
}

async function makeFile(bytes) {
    const path = join(await mkdtemp(join(tmpdir(), 'kw-')), 'large.bin');
    const file = await open(path, 'w');
    const hash = createHash('sha256');
    const block = Buffer.alloc(mib);
    for (let at = 0; at < bytes; at += mib) {
        block.fill((at / mib) % 251);
        await file.write(block);
        hash.update(block);
    }
    await file.close();
    return { path, sha256: hash.digest('hex') };
}

test('upload of a 200 MB file, chunked, in constant memory', async () => {
    const { path, sha256 } = await makeFile(200 * mib);
    const before = peakKiB();
    // A stream has no known length: the SDK sends it in chunks.
    const file = await openai.files.create({ file: createReadStream(path), purpose: 'user_data' });
    const grown = peakKiB() - before;
    assert.equal(file.bytes, 200 * mib);
    if (file.sha256) assert.equal(file.sha256, sha256);
    console.log(`# memory grown by ${grown} KiB`);
    assert.ok(grown < 2048, `memory grew by ${grown} KiB`);
});

test('transcription of a 25 MB file', async () => {
    const { path } = await makeFile(25 * mib);
    const answer = await openai.audio.transcriptions.create({
        file: await toFile(createReadStream(path), 'speech.wav'), model: 'gpt-4o-transcribe',
    });
    assert.ok(answer.text.length > 0);
});
