// Server-sent events, read by `fetch`: unlike an EventSource it says why there are none, and that a member is silent.

// So many intervals without a word, and the member counts as silent.
const SILENT_INTERVALS = 4;
const INTERVAL_MS = 500;
const CONNECT_MS = 2000;
// A look at a member with everything that is shown has some tens of kilobytes.
const EVENT_CHARACTERS_MAX = 4 * 1024 * 1024;

// Follow the stream at `url` until it ends or `signal` aborts. `look` is given each event's data. Returns why it ended, in words.
export async function follow(url, signal, look) {
  const silence = new AbortController();
  let patience = setTimeout(() => silence.abort(), CONNECT_MS);
  const both = AbortSignal.any([signal, silence.signal]);
  try {
    const answer = await fetch(url, { cache: "no-store", headers: { accept: "text/event-stream" }, signal: both });
    if (!answer.ok) return await reason(answer);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return "the connection to it ended";
      clearTimeout(patience);
      patience = setTimeout(() => silence.abort(), SILENT_INTERVALS * INTERVAL_MS);
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      if (rest.length > EVENT_CHARACTERS_MAX) return "it sends what this page does not understand";
      for (const event of events) {
        const { name, data } = parse(event);
        if (name === "end") return JSON.parse(data).detail;
        if (data) look(JSON.parse(data));
      }
    }
  } catch (error) {
    if (signal.aborted) return "";
    if (silence.signal.aborted) return "it is silent";
    if (error instanceof SyntaxError) return "it sends what this page does not understand";
    return "it cannot be reached";
  } finally {
    clearTimeout(patience);
    silence.abort();
  }
}

function parse(event) {
  const lines = event.split("\n");
  const of = (field) => lines.filter((line) => line.startsWith(`${field}:`)).map((line) => line.slice(field.length + 1).replace(/^ /, ""));
  return { name: of("event")[0] ?? "message", data: of("data").join("\n") };
}

// What an answer that is no success says.
export async function reason(answer) {
  try {
    const problem = await answer.json();
    return problem.detail ?? problem.message ?? `it answered ${answer.status}`;
  } catch {
    return `it answered ${answer.status}`;
  }
}
