// The client that all SDK tests use: the official one, pointed at the proxy by its base URL alone.
import { File } from 'node:buffer';
import OpenAI from 'openai';

// The SDK looks for it when a file is uploaded; Node 18 has it, but not as a global.
globalThis.File ??= File;

export const baseURL = process.env.BASE_URL;

export function client(options = {}) {
    return new OpenAI({ apiKey: process.env.ACCESS_KEY, baseURL, maxRetries: 0, timeout: 60_000, ...options });
}

export const say = (content) => [{ role: 'user', content }];
