// The page: follows a member's looks at the store, and shows them. A member's own page stays with that member and says at once when it
// does not answer; a runner's page goes on with another member.

import { latencyChart, throughputChart } from "./charts.js";
import { commandElsewhere, pageOf } from "./links.js";
import { liveUrl, order, processes, recover, servedByRunner } from "./orders.js";
import { Rates } from "./rates.js";
import { Sections, seenBy } from "./sections.js";
import { follow } from "./stream.js";
import { time } from "./words.js";

const AGAIN_MS_MIN = 250;
const AGAIN_MS_MAX = 4000;
const PROCESSES_MS = 500;
// A leader that changes all the time is not run after.
const FOLLOW_LEADER_MS = 1000;

const element = (id) => document.getElementById(id);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const page = {
  rates: new Rates(),
  sections: new Sections(buttons, servedByRunner),
  charts: null,
  // The last look, and who the processes are.
  look: null,
  processes: null,
  // Who is to be looked through; null for whoever leads.
  chosen: null,
  source: 0,
  stop: null,
  moved: 0,
};

function buttons(member) {
  const made = [];
  const add = (text, label, act) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.setAttribute("aria-label", label);
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        say(`${member.name}: ${await act()}`);
      } catch (error) {
        say(`${member.name}: ${error.message}`, true);
      } finally {
        button.disabled = false;
      }
    });
    made.push(button);
  };
  if (servedByRunner) {
    if (member.process?.phase === "running") add("fail", `Kill ${member.name}`, () => order("fail", member));
    else add("start", `Start ${member.name}`, () => order("start", member));
  }
  add("recover", `Recover the files of ${member.name}`, () => recover(member));
  return made;
}

function say(text, isBad = false) {
  const said = element("said");
  said.hidden = false;
  said.textContent = text;
  said.dataset.tone = isBad ? "bad" : "plain";
}

function shown(look) {
  page.look = look;
  element("trouble").hidden = true;
  element("main").classList.remove("stale");
  const rates = page.rates.take(look);
  render(rates);
  page.charts ??= { throughput: throughputChart(), latency: latencyChart() };
  page.charts.throughput.show(page.rates.throughput(), [rates.throughput]);
  page.charts.latency.show(page.rates.latency(), [rates.commitMean, rates.commitMost, rates.fsyncMean]);
  if (servedByRunner) followLeader(look);
}

let lastRates = {};

function render(rates = lastRates) {
  lastRates = rates;
  const { look } = page;
  if (!look) return;
  const store = look.status.store.replace(/^default[/]/, "");
  if (element("store").textContent !== store) {
    element("store").textContent = store;
    document.title = `${store} · Holdfast`;
  }
  page.sections.show(look, rates, page.processes);
  const seen = `${servedByRunner ? "now " : "Seen by "}${seenBy(look)}, ${time(look.time)}`;
  element("seen").textContent = seen;
}

// Look through whoever leads, unless a person chose somebody.
function followLeader(look) {
  const { leader, member } = look.status;
  const now = performance.now();
  if (page.chosen !== null || leader === undefined || leader === member || now - page.moved < FOLLOW_LEADER_MS) return;
  if (!runs(leader)) return;
  page.source = leader;
  page.moved = now;
  page.stop?.abort();
}

const runs = (ordinal) => page.processes?.find((one) => one.ordinal === ordinal)?.phase === "running";

function trouble(why) {
  page.rates.interrupt();
  const banner = element("trouble");
  const { look } = page;
  const name = look?.members.find((one) => one.ordinal === page.source)?.name ?? (servedByRunner ? `member ${page.source}` : "this member");
  const who = servedByRunner ? name : look ? seenBy(look) : "this member";
  const text = document.createElement("span");
  text.textContent = `${who} does not answer: ${why}. ${look ? `What is below is what was last seen, at ${time(look.time)}. ` : ""}Trying again.`;
  const parts = [text];
  if (!servedByRunner && look) parts.push(...elsewhere(look));
  // Said once for one trouble, so that a reader is not told it again and again.
  if (banner.hidden || banner.dataset.why !== text.textContent) {
    banner.dataset.why = text.textContent;
    banner.replaceChildren(...parts);
  }
  banner.hidden = false;
  element("main").classList.add("stale");
  if (!servedByRunner || page.chosen !== null) {
    const pill = element("health");
    pill.textContent = "no answer";
    pill.dataset.tone = "bad";
  }
}

// How to get to the other members' pages.
function elsewhere(look) {
  const links = look.members.flatMap((one) => {
    const page = pageOf(look, one);
    return page ? [Object.assign(document.createElement("a"), { href: page, textContent: one.name })] : [];
  });
  if (links.length > 0) return [" Look at ", ...links.flatMap((link, index) => (index > 0 ? [", ", link] : [link])), "."];
  const command = commandElsewhere(look);
  return command ? [" To look through another one, on Kubernetes: ", Object.assign(document.createElement("code"), { textContent: command })] : [];
}

// A runner knows who runs; the next of them, beginning after the one that does not answer.
function nextSource() {
  const all = (page.processes ?? []).map((one) => one.ordinal);
  const after = [...all.filter((one) => one > page.source), ...all.filter((one) => one <= page.source)];
  return after.find(runs) ?? after[0] ?? page.source;
}

async function watchStore() {
  let again = AGAIN_MS_MIN;
  for (;;) {
    page.stop = new AbortController();
    let looks = 0;
    const why = await follow(liveUrl(page.source), page.stop.signal, (look) => {
      looks += 1;
      again = AGAIN_MS_MIN;
      shown(look);
    });
    // Somebody else is to be looked through.
    if (why === "") continue;
    trouble(why);
    if (servedByRunner && page.chosen === null) {
      await watchProcessesOnce();
      const next = nextSource();
      if (next !== page.source && looks > 0) {
        page.source = next;
        page.moved = performance.now();
        continue;
      }
      page.source = next;
    }
    await pause(again);
    again = Math.min(again * 2, AGAIN_MS_MAX);
  }
}

async function watchProcessesOnce() {
  try {
    page.processes = (await processes()).members;
    element("source").disabled = false;
    offerSources();
    return true;
  } catch {
    page.processes = null;
    return false;
  }
}

async function watchProcesses() {
  for (;;) {
    const known = await watchProcessesOnce();
    if (known) render();
    await pause(known ? PROCESSES_MS : AGAIN_MS_MAX / 2);
  }
}

function offerSources() {
  const choice = element("source");
  const wanted = page.processes.map((one) => [String(one.ordinal), one.name]);
  const there = [...choice.options].slice(1);
  if (there.length === wanted.length && there.every((one, index) => one.value === wanted[index][0])) return;
  there.forEach((one) => one.remove());
  wanted.forEach(([value, text]) => choice.add(new Option(text, value)));
}

function chooseSource() {
  const choice = element("source");
  element("source-label").hidden = false;
  choice.addEventListener("change", () => {
    page.chosen = choice.value === "" ? null : Number(choice.value);
    if (page.chosen !== null) page.source = page.chosen;
    page.moved = 0;
    page.stop?.abort();
  });
}

if (servedByRunner) {
  chooseSource();
  await watchProcessesOnce();
  page.source = (page.processes ?? []).find((one) => one.phase === "running")?.ordinal ?? 0;
  watchProcesses();
}
watchStore();
