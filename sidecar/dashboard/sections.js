// What each section of the page shows of a look at a member. The only thing that is worked out here is how to say it.

import { commandElsewhere, pageOf } from "./links.js";
import { Table, badge } from "./table.js";
import { UNKNOWN, ago, bytes, count, duration, entries, milliseconds, plural, rate, time } from "./words.js";

const element = (id) => document.getElementById(id);

const TONES = {
  healthy: "good",
  degraded: "warn",
  "read-only": "bad",
  suspected: "warn",
  unhealthy: "bad",
  leader: "lead",
  candidate: "warn",
  running: "good",
  waiting: "warn",
  failed: "bad",
  stopped: "bad",
  removed: "bad",
  PENDING: "warn",
  IN_PROGRESS: "lead",
  COMPLETED: "good",
  FAILED: "bad",
  leads: "lead",
  connected: "good",
  lost: "bad",
  "no leader": "warn",
};

export const tone = (word) => TONES[word] ?? "plain";

const word = (cell, _row, text) => badge(cell, text, tone(text));

// Terms and descriptions that stay in place.
class Facts {
  #list;
  #facts = new Map();

  constructor(list) {
    this.#list = list;
  }

  show(facts) {
    const gone = [...this.#facts.keys()].filter((name) => !facts.some((fact) => fact[0] === name));
    for (const name of gone) {
      this.#facts.get(name).place.remove();
      this.#facts.delete(name);
    }
    for (const [name, value, detail] of facts) {
      let fact = this.#facts.get(name);
      if (!fact) {
        const place = document.createElement("div");
        const [term, text, more] = ["dt", "dd", "dd"].map((tag) => document.createElement(tag));
        term.textContent = name;
        more.className = "detail";
        place.append(term, text, more);
        this.#list.append(place);
        fact = { place, text, more };
        this.#facts.set(name, fact);
      }
      if (fact.text.textContent !== value) fact.text.textContent = value;
      if (fact.more.textContent !== (detail ?? "")) fact.more.textContent = detail ?? "";
      fact.more.hidden = !detail;
    }
  }
}

// Every member, as the one that looks sees it.
function membersOf(look, processes) {
  const { status, health } = look;
  return look.members.map((member) => {
    const me = member.ordinal === status.member;
    const peer = status.peers.find((one) => one.ordinal === member.ordinal);
    const seen = health.peers.find((one) => one.server_id === member.name);
    const votes = status.voters.includes(member.ordinal);
    const leads = status.leader === member.ordinal;
    return {
      ...member,
      me,
      page: pageOf(look, member),
      // Of others it is known who leads and who votes.
      role: me ? status.role : leads ? "leader" : votes ? "voter" : "learner",
      health: me ? "healthy" : (seen?.status ?? "unhealthy"),
      connected: me || (peer?.connected ?? false),
      // A leader counts from the first entry until it has heard from a member.
      lag: me ? (leads ? 0 : undefined) : peer?.match > 0 ? peer.lag : undefined,
      roundTrip: me ? undefined : peer?.connected ? peer.roundTripMs : undefined,
      // Heartbeats go between the leader and each of the others.
      heard: status.role === "leader" || leads ? peer?.lastHeartbeatMsAgo : undefined,
      process: processes?.find((one) => one.ordinal === member.ordinal),
    };
  });
}

function memberColumns(buttons, withProcess) {
  const columns = [
    {
      name: "Member",
      head: true,
      text: (one) => `${one.name}${one.me ? " (looks)" : ""}${one.page ?? ""}`,
      fill: (cell, one) => {
        const name = document.createElement(one.page && !withProcess ? "a" : "span");
        name.textContent = one.name;
        name.className = "name";
        if (name.href !== undefined) name.href = one.page;
        cell.replaceChildren(name);
        if (one.me) {
          const mark = document.createElement("span");
          mark.className = "me";
          mark.textContent = "this view";
          cell.append(mark);
        }
      },
    },
    { name: "Role", whole: true, text: (one) => one.role, fill: word },
    {
      name: "Health",
      text: (one) => one.health,
      fill: word,
      title: (one) => (one.connected ? "there is a connection to it" : "there is no connection to it"),
    },
    { name: "Lag", number: true, text: (one) => (one.lag === undefined ? UNKNOWN : entries(one.lag)), title: (one) => (one.lag === undefined ? "only the leader knows" : undefined) },
    { name: "Round trip", number: true, text: (one) => milliseconds(one.roundTrip) },
    { name: "Heartbeat", number: true, text: (one) => (one.me ? UNKNOWN : ago(one.heard)) },
    { name: "Clients at", whole: true, text: (one) => (one.address ?? UNKNOWN).replace(/^https?:../, "") },
  ];
  if (withProcess) {
    columns.push({
      name: "Process",
      whole: true,
      text: (one) => (one.process ? [one.process.phase, one.process.pid, one.process.restarts].join(" ") : UNKNOWN),
      fill: (cell, one) => {
        if (!one.process) return cell.replaceChildren(UNKNOWN);
        badge(cell, one.process.phase, tone(one.process.phase));
        const { pid, restarts } = one.process;
        cell.append(pid ? ` pid ${pid}` : "");
        if (restarts) cell.append(below(plural(restarts, "restart")));
      },
    });
  }
  columns.push({
    name: "Orders",
    wide: true,
    whole: true,
    text: (one) => `${one.name} ${withProcess && one.process?.phase === "running"}`,
    fill: (cell, one) => cell.replaceChildren(...buttons(one)),
  });
  return columns;
}

export class Sections {
  #tiles = new Facts(element("tiles"));
  #checkpoint = new Facts(element("checkpoint"));
  #members;
  #queue;
  #files;
  #logs;
  #history;
  #names = new Map();
  #withProcess;

  constructor(buttons, withProcess) {
    this.#withProcess = withProcess;
    const name = (node) => this.#names.get(node) ?? node ?? UNKNOWN;
    this.#members = new Table(element("members-table"), {
      columns: memberColumns(buttons, withProcess),
      key: (one) => one.ordinal,
      none: "No member is known yet.",
      blocksBelow: 1000,
    });
    this.#queue = new Table(element("queue-table"), {
      columns: [
        { name: "File", head: true, text: (item) => item.file_key },
        { name: "To", text: (item) => name(item.target_node_id) },
        { name: "From", text: (item) => name(item.source_node_id) },
        { name: "State", text: (item) => item.status, fill: word },
        { name: "Failed tries", number: true, text: (item) => count(item.retry_count) },
        { name: "Last try", number: true, text: (item) => time(item.last_attempt) },
        { name: "Reason", wide: true, text: (item) => item.error_message ?? UNKNOWN },
      ],
      key: (item) => item.id,
      none: "Every member has the files that it is to have.",
    });
    this.#files = new Table(element("files-table"), {
      columns: [
        { name: "File", head: true, text: (file) => `${file.file_key}\n${file.original_filename}`, fill: fileName },
        { name: "Size", number: true, text: (file) => bytes(file.size_bytes) },
        { name: "Copies", text: (file) => copies(file, this.#names) },
        { name: "SHA-256", text: (file) => file.checksum_sha256.slice(0, 12), title: (file) => file.checksum_sha256 },
        { name: "Uploaded", number: true, text: (file) => time(file.uploaded_at) },
      ],
      key: (file) => file.file_key,
      none: "No files.",
    });
    this.#logs = new Table(element("logs-table"), {
      columns: [
        { name: "Log", head: true, text: (log) => log.name },
        { name: "Messages", number: true, text: (log) => count(log.last - log.first + 1) },
        { name: "Newest", number: true, text: (log) => count(log.last) },
        { name: "Committed to", number: true, text: (log) => count(log.committed) },
        { name: "Size", number: true, text: (log) => bytes(log.bytes) },
      ],
      key: (log) => log.name,
      none: "No messages.",
    });
    this.#history = new Table(element("history-table"), {
      columns: [
        { name: "Time", text: (one) => time(one.at) },
        { name: "Term", text: (one) => count(one.term) },
        { name: "What", text: (one) => one.word, fill: word },
        { name: "Who", head: true, text: (one) => one.who },
      ],
      key: (one) => one.key,
      none: "Nothing has happened since this member started.",
    });
  }

  // Gives the members, for whoever needs to know where they are.
  show(look, rates, processes) {
    const { status, health, state } = look;
    this.#names = new Map(look.members.map((member) => [member.node, member.name]));
    const members = membersOf(look, processes);
    this.#showHealth(look, members);
    this.#tiles.show(tiles(look, rates));
    this.#members.show(members);
    this.#showElsewhere(look);
    this.#showQueue(look.queue);
    this.#files.show(look.files.items);
    this.#logs.show(look.logs.items);
    this.#checkpoint.show(checkpointFacts(look));
    this.#history.show(happenings(look));
    element("foot").textContent =
      `${status.store}, strategy ${status.strategy}, holdfast ${status.version}. ${seenBy(look)} has served for ` +
      `${duration(look.uptimeMs)}; everything here is what it knows, twice a second. ${plural(state.sessions, "session")}, ` +
      `${bytes(state.logBytes)} of log and ${bytes(state.historyBytes)} of old versions in memory.`;
    return { members, health };
  }

  #showHealth(look, members) {
    const { health } = look;
    const missing = members.filter((one) => one.health !== "healthy");
    const pill = element("health");
    const text =
      health.status === "healthy" && missing.length > 0
        ? `serving, ${members.length - missing.length} of ${members.length} members`
        : health.status;
    if (pill.textContent !== text) pill.textContent = text;
    pill.dataset.tone = health.status === "healthy" && missing.length > 0 ? "warn" : tone(health.status);
    const reason = element("reason");
    reason.hidden = !health.reason;
    if (reason.textContent !== (health.reason ?? "")) reason.textContent = health.reason ?? "";
  }

  // Why nobody is linked, and what to do about it.
  #showElsewhere(look) {
    const note = element("elsewhere");
    const command = this.#withProcess ? undefined : commandElsewhere(look);
    note.hidden = !command;
    if (!command || note.dataset.command === command) return;
    note.dataset.command = command;
    const me = seenBy(look);
    const code = document.createElement("code");
    code.textContent = command;
    note.replaceChildren(
      `This page came through ${location.host}, which leads to ${me} alone: what is here of the others is what ${me} knows. To look through another one instead, on Kubernetes: `,
      code,
    );
  }

  #showQueue({ items, statistics, more }) {
    const counts = [
      ["waiting", statistics.pending, "PENDING"],
      ["being copied", statistics.in_progress, "IN_PROGRESS"],
      ["failed", statistics.failed, "FAILED"],
      ["done lately", statistics.completed, "COMPLETED"],
    ];
    const list = element("queue-counts");
    const text = JSON.stringify([counts, more]);
    if (list.dataset.shown !== text) {
      list.dataset.shown = text;
      const parts = counts.map(([name, number, state]) => {
        const part = document.createElement("li");
        part.dataset.tone = number > 0 ? tone(state) : "plain";
        const value = document.createElement("b");
        value.textContent = count(number);
        part.append(value, ` ${name}`);
        return part;
      });
      if (more) parts.push(Object.assign(document.createElement("li"), { textContent: "and more that are not counted here" }));
      list.replaceChildren(...parts);
    }
    this.#queue.show(items);
  }
}

// The key of its routes; below it what it was called, if that is something else.
function fileName(cell, file) {
  cell.replaceChildren(file.file_key);
  if (file.original_filename === file.file_key) return;
  cell.append(below(file.original_filename));
}

// A second line of a cell.
function below(text) {
  const line = document.createElement("span");
  line.className = "detail below";
  line.textContent = text;
  return line;
}

export const seenBy = (look) => look.health.server_id;

function tiles({ status, health, state }, rates) {
  const leader = status.leader === undefined ? "nobody" : (health.leader ?? UNKNOWN);
  const commit =
    rates.commitMean !== undefined
      ? `p99 ${milliseconds(rates.commitMost)}`
      : status.role === "leader"
        ? "nothing was written"
        : "only the leader measures it";
  return [
    ["Leader", leader, `term ${count(status.term)}`],
    ["Members there", `${health.quorum.there} of ${health.quorum.voters}`, `${health.quorum.needed} are needed`],
    ["Throughput", rates.throughput === undefined ? UNKNOWN : `${rate(rates.throughput)} /s`, `${plural(state.writesPending, "write")} waiting`],
    ["Commit latency", milliseconds(rates.commitMean), commit],
    ["Revision", count(status.revision), `entry ${count(status.positions.commit)} committed`],
    ["Keys", count(state.keys), `${bytes(state.liveBytes)} of ${bytes(state.quotaBytes)}`],
    ["Disk", state.diskFull ? "full" : state.diskWaitsMs > 0 ? `waits ${milliseconds(state.diskWaitsMs)}` : "keeps up", `fsync ${milliseconds(rates.fsyncMean)}`],
  ];
}

function copies(file, names) {
  const wanted = file.replicas_wanted ?? names.size;
  const who = file.replicas.map((node) => names.get(node) ?? node).join(", ");
  return `${file.replicas.length} of ${wanted}${who ? `: ${who}` : ""}`;
}

function checkpointFacts({ status, time: now }) {
  const last = status.lastCheckpoint;
  if (!last) return [["Newest", "none", "this member has none on its disk"]];
  return [
    ["Newest", time(last.time), `${duration(Math.max(0, new Date(now) - new Date(last.time)))} old`],
    ["Covers", `entry ${count(last.index)}`, `of term ${count(last.term)}; ${entries(Math.max(0, status.positions.commit - last.index))} since`],
    ["Size", bytes(last.bytes), "on this member's disk"],
  ];
}

const WHAT = { leads: "leads", noLeader: "no leader", connected: "connected", lost: "lost" };

// The newest first, at the time of the clock of the member that looks.
function happenings(look) {
  const names = new Map(look.members.map((member) => [member.ordinal, member.name]));
  return look.history.toReversed().map((one) => ({
    key: `${look.status.incarnation}/${one.number}`,
    // To the second that it happened in: `msAgo` and the look's own time are rounded each.
    at: new Date(new Date(look.time) - one.msAgo),
    term: one.term,
    word: WHAT[one.what] ?? one.what,
    who: one.member === undefined ? UNKNOWN : (names.get(one.member) ?? `member ${one.member}`),
  }));
}
