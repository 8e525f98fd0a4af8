// Requests to the service that serves this page.

const CACHED = 500; // translations
const cache = new Map();

export class ServiceError extends Error {
  constructor(message, status, retryAfter) {
    super(message);
    Object.assign(this, { status, retryAfter });
  }
}

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("The service cannot be reached.", 0);
  }
  const content = await response.json().catch(() => ({}));
  if (response.ok) return content;
  const retryAfter = Number(response.headers.get("Retry-After")) || null;
  throw new ServiceError(content.error ?? response.statusText, response.status, retryAfter);
}

export const loadModels = () => request("v1/models");
export const loadSettings = () => request("frontend/settings");

// Translate sentences, which are requests of `requestOf`, and return their translations. Those that
// were translated before are not sent again.
export async function translate(model, sentences, key, signal) {
  const keys = sentences.map((sentence) => JSON.stringify([model, sentence]));
  const missing = [...new Set(keys)].filter((one) => !cache.has(one));
  if (missing.length) {
    const body = {
      model,
      sentences: missing.map((one) => JSON.parse(one)[1]),
      options: { alternatives: 5 },
      ...(key ? { api_key: key } : {}),
    };
    const found = await request("v1/translate", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal,
    });
    missing.forEach((one, number) => cache.set(one, found.sentences[number]));
  }
  const results = keys.map((one) => cache.get(one));
  while (cache.size > CACHED) cache.delete(cache.keys().next().value);
  return results;
}
