// How fast the member's counts grow: from one look at it to the next. Nothing is smoothed, and nothing filled in: between two lives of
// a member, and where nothing was measured, there is a gap.

const WINDOW_SECONDS = 300;
// A chart is not narrower than that.
const LEAST_SECONDS = 60;
// A point for each look at two looks a second, and room for faster ones.
const POINTS_MAX = 1200;

export class Rates {
  #before = null;
  #last = {};
  // Seconds since 1970, then one list for each line.
  #data = [[], [], [], [], []];

  static windowSeconds = WINDOW_SECONDS;
  static leastSeconds = LEAST_SECONDS;

  // Take in a look. Gives what it comes to: entries committed a second, and times in milliseconds.
  take(look) {
    const before = this.#before;
    this.#before = look;
    const life = (one) => `${one.status.member}/${one.status.incarnation}`;
    const passed = before ? (look.uptimeMs - before.uptimeMs) / 1000 : 0;
    const same = before && life(before) === life(look) && passed > 0;
    const commit = same ? timing(before.counts.commit, look.counts.commit) : {};
    const fsync = same ? timing(before.counts.fsync, look.counts.fsync) : {};
    this.#last = {
      throughput: same ? grown(before.status.positions.commit, look.status.positions.commit) / passed : undefined,
      commitMean: commit.mean,
      commitMost: commit.most,
      fsyncMean: fsync.mean,
    };
    const { throughput, commitMean, commitMost, fsyncMean } = this.#last;
    this.#add([Date.now() / 1000, throughput, commitMean, commitMost, fsyncMean]);
    return this.#last;
  }

  // Nothing is known until the next look.
  interrupt() {
    if (this.#before === null) return;
    this.#before = null;
    this.#add([Date.now() / 1000, undefined, undefined, undefined, undefined]);
  }

  throughput() {
    return [this.#data[0], this.#data[1]];
  }

  latency() {
    return [this.#data[0], this.#data[2], this.#data[3], this.#data[4]];
  }

  #add(point) {
    const oldest = point[0] - WINDOW_SECONDS - 1;
    let gone = this.#data[0].findIndex((at) => at >= oldest);
    if (gone < 0) gone = this.#data[0].length;
    gone = Math.max(gone, this.#data[0].length + 1 - POINTS_MAX);
    this.#data = this.#data.map((line, index) => {
      const kept = gone > 0 ? line.slice(gone) : line;
      kept.push(point[index] ?? null);
      return kept;
    });
  }
}

const grown = (before, now) => Math.max(0, now - before);

// Mean and 99th percentile in milliseconds of what was timed between two readings; nothing if nothing was.
function timing(before, now) {
  const times = now.count - before.count;
  if (times <= 0) return {};
  const mean = ((now.sumSeconds - before.sumSeconds) / times) * 1000;
  const wanted = times * 0.99;
  let [lower, below] = [0, 0];
  for (let index = 0; index < now.buckets.length; index += 1) {
    const [bound, sofar] = now.buckets[index];
    const within = sofar - (before.buckets[index]?.[1] ?? 0);
    if (within >= wanted) {
      const part = within > below ? (wanted - below) / (within - below) : 1;
      return { mean, most: (lower + (bound - lower) * part) * 1000 };
    }
    [lower, below] = [bound, within];
  }
  return { mean, most: lower * 1000 };
}
