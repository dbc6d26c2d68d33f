// Requests to the endpoint. A session that ended leads to the login.

let csrf = "";

export function setCsrf(token) {
  csrf = token;
}

/** JSON of a route; throws an Error whose text is the endpoint's own. */
export async function get(path) {
  return answer(await fetch(path, { headers: { Accept: "application/json" }, cache: "no-store" }));
}

/** POSTs JSON with the session's CSRF token. */
export async function post(path, body) {
  const headers = { Accept: "application/json", "Content-Type": "application/json", "X-CSRF-Token": csrf };
  return answer(await fetch(path, { method: "POST", headers, body: JSON.stringify(body || {}) }));
}

async function answer(response) {
  if (response.status === 401) {
    location.assign("/login");
    throw new Error("the session has ended");
  }
  const text = await response.text();
  let document = null;
  try {
    document = JSON.parse(text);
  } catch {
    document = null;
  }
  if (!response.ok) {
    const error = new Error(document?.detail || document?.title || `the endpoint answered ${response.status}`);
    error.status = response.status;
    throw error;
  }
  return document;
}
