// What the page can ask for: that a member's files are recovered, and, of a runner, that a member is killed or started.

import { reason } from "./stream.js";
import { plural } from "./words.js";

// A browser lets no page of another origin send this header.
const HEADERS = { "x-holdfast-dashboard": "1" };

export const servedByRunner = document.documentElement.dataset.servedBy === "runner";

const here = (path) => new URL(path, import.meta.url);

async function post(url) {
  const answer = await fetch(url, { method: "POST", headers: HEADERS });
  if (!answer.ok) throw new Error(await reason(answer));
  return answer.json();
}

// Kill a member and leave it down, or start it. Gives what became of it, in words.
export async function order(verb, member) {
  return (await post(here(`members/${member.ordinal}/${verb}`))).detail;
}

// Copy what a member misses of the files, now. Gives what became of it, in words.
export async function recover(member) {
  const url = servedByRunner ? here(`members/${member.ordinal}/recover`) : here(`../nodes/${member.node}/recover`);
  const { message, total, success } = await post(url);
  return total > 0 ? `${message}: ${success} of ${plural(total, "copy", "copies")}` : message;
}

// The members' processes, as the runner sees them.
export async function processes() {
  const answer = await fetch(here("runner"), { cache: "no-store" });
  if (!answer.ok) throw new Error(await reason(answer));
  return answer.json();
}

// Where a member's looks come from.
export function liveUrl(ordinal) {
  return servedByRunner ? here(`members/${ordinal}/live`) : here("live");
}
