// The client that all SDK tests use: the official one, pointed at the proxy by its base URL alone.
import OpenAI from 'openai';

export const baseURL = process.env.BASE_URL;

export function client(options = {}) {
    return new OpenAI({ apiKey: process.env.ACCESS_KEY, baseURL, maxRetries: 0, timeout: 60_000, ...options });
}

export const say = (content) => [{ role: 'user', content }];
