// Asks the viewer for a change, and says in words what was wrong with it.

export async function send(path, body) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const answer = await response.json().catch(() => ({ error: `The viewer answered ${response.status}.` }));
  if (!response.ok) throw new Error(answer.error ?? `The viewer answered ${response.status}.`);
  return answer;
}

export function explain(error) {
  return error instanceof TypeError ? "The viewer does not answer; is `curate view` still running?" : error.message;
}

export function typing(event) {
  return event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, [contenteditable]");
}
