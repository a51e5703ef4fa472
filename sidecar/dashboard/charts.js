// Two charts of the last minutes.

import uPlot from "./uplot/uPlot.esm.js";
import { Rates } from "./rates.js";
import { milliseconds, rate, time } from "./words.js";

const HEIGHT = 190;

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// From the first point on at first, then the last minutes.
function window(plot) {
  const now = Date.now() / 1000;
  const first = Math.min(plot.data[0][0] ?? now, now - Rates.leastSeconds);
  return [Math.max(first, now - Rates.windowSeconds), now];
}

// The power of ten next to a value; never the same for a least and a most value.
const power = (value, round) => 10 ** round(Math.log10(Math.max(value, 0.001) * (round === Math.ceil ? 1.001 : 0.999)));

class Chart {
  #place;
  #caption;
  #lines;
  #format;
  #plot = null;
  #data = null;
  #summary = "";
  #scale;

  constructor(place, caption, lines, format, scale) {
    this.#place = place;
    this.#caption = caption;
    this.#lines = lines;
    this.#format = format;
    this.#scale = scale;
    place.setAttribute("role", "img");
    new ResizeObserver(() => this.#plot?.setSize(this.#size())).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#make());
  }

  show(data, summary) {
    this.#data = data;
    this.#summary = summary;
    if (this.#plot) this.#plot.setData(data);
    else this.#make();
    if (this.#plot.cursor.idx === null || this.#plot.cursor.left < 0) this.#say(summary);
  }

  #size() {
    return { width: Math.max(200, Math.floor(this.#place.clientWidth)), height: HEIGHT };
  }

  #say(values, at) {
    const parts = this.#lines.map((line, index) => {
      const part = document.createElement("span");
      part.className = "key";
      part.dataset.line = line.colour;
      part.textContent = `${line.name} `;
      const value = document.createElement("b");
      value.textContent = this.#format(values[index]);
      part.append(value);
      return part;
    });
    if (at) {
      const when = document.createElement("span");
      when.textContent = `at ${time(new Date(at * 1000))}`;
      parts.push(when);
    }
    this.#caption.replaceChildren(...parts);
    this.#place.setAttribute("aria-label", `The last five minutes. Now: ${this.#caption.textContent}`);
  }

  #make() {
    if (!this.#data) return;
    this.#plot?.destroy();
    const [text, grid] = [style("--dim"), style("--grid")];
    const axis = { stroke: text, grid: { stroke: grid, width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const series = this.#lines.map((line) => ({
      label: line.name,
      stroke: style(`--${line.colour}`),
      fill: line.fill ? style(`--${line.colour}-fill`) : undefined,
      width: 1.5,
      points: { show: false },
    }));
    const options = {
      ...this.#size(),
      padding: [8, 22, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false } },
      scales: {
        x: { range: window },
        y: this.#scale,
      },
      series: [{}, ...series],
      axes: [
        { ...axis, size: 26, space: 70, values: (_, marks) => marks.map((at) => time(new Date(at * 1000)).replace(/^.*, /, "")) },
        { ...axis, size: 58, values: (_, marks) => marks.map((value) => (value === null ? "" : value === 0 ? "0" : this.#format(value))) },
      ],
      hooks: {
        setCursor: [
          (plot) => {
            const index = plot.cursor.idx;
            if (index === null || index === undefined || plot.cursor.left < 0) this.#say(this.#summary);
            else this.#say(plot.data.slice(1).map((line) => line[index]), plot.data[0][index]);
          },
        ],
      },
    };
    this.#place.replaceChildren();
    this.#plot = new uPlot(options, this.#data, this.#place);
  }
}

const element = (id) => document.getElementById(id);

export const throughputChart = () =>
  new Chart(
    element("throughput"),
    element("throughput-now"),
    [{ name: "entries committed a second", colour: "blue", fill: true }],
    rate,
    { range: (_, _least, most) => [0, most > 0 ? most * 1.15 : 1] },
  );

export const latencyChart = () =>
  new Chart(
    element("latency"),
    element("latency-now"),
    [
      { name: "commit, mean", colour: "blue" },
      { name: "commit, p99 (by bucket)", colour: "orange" },
      { name: "fsync here, mean", colour: "green" },
    ],
    milliseconds,
    // From a flush to a stall is four powers of ten.
    { distr: 3, range: (_, least, most) => [power(least ?? 1, Math.floor), power(most ?? 1, Math.ceil)] },
  );
