/**
 * Two live plots of the last minute: records per second, and the time from append to ack. They are drawn only while
 * something changes.
 */
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { byId } from "./dom.ts";

const STEP_MS = 250;
const POINTS = 120;
const IDLE_STEPS = 20;

const style = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/**
 * `colour` names a colour of the theme. It is read at each drawing, because the theme may change while the page is
 * open.
 */
function plot(target: HTMLElement, colour: string): uPlot {
  const stroke = (): string => style(colour);
  const grid = { stroke: () => style("--edge"), width: 1 };
  const axis = { stroke: () => style("--soft"), grid, ticks: { show: false }, font: "11px system-ui" };
  const made = new uPlot(
    {
      width: target.clientWidth,
      height: 120,
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: false }, y: { range: (_, __, max) => [0, Math.max(max * 1.1, 1)] } },
      series: [
        {},
        { stroke, width: 2, fill: () => `color-mix(in srgb, ${stroke()} 22%, transparent)`, points: { show: false } },
      ],
      axes: [
        { ...axis, values: (_, splits) => splits.map((value) => `${Math.round(value)} s`) },
        {
          ...axis,
          size: 48,
          values: (_, splits) => splits.map((value) => (value >= 1000 ? `${value / 1000}k` : String(value))),
        },
      ],
    },
    [[], []],
    target,
  );
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => made.redraw(false, true));
  new ResizeObserver(() => made.setSize({ width: target.clientWidth, height: 120 })).observe(target);
  return made;
}

export class Plots {
  readonly #rate = plot(byId("plot-rate"), "--foam");
  readonly #ack = plot(byId("plot-ack"), "--line");
  readonly #rates: number[] = new Array<number>(POINTS).fill(0);
  readonly #acks: (number | null)[] = new Array<number | null>(POINTS).fill(null);
  #records = 0;
  #latencies: number[] = [];
  #timer: ReturnType<typeof setInterval> | undefined;
  #idle = 0;

  constructor() {
    this.#draw();
  }

  /** `count` records were acked, `latencyMs` after their append. */
  acked(count: number, latencyMs: number): void {
    this.#records += count;
    this.#latencies.push(latencyMs);
    this.#idle = 0;
    this.#timer ??= setInterval(() => this.#step(), STEP_MS);
  }

  #step(): void {
    const sorted = this.#latencies.sort((a, b) => a - b);
    this.#push(this.#rates, (this.#records * 1000) / STEP_MS);
    this.#push(this.#acks, sorted.length > 0 ? sorted[sorted.length >> 1]! : null);
    this.#idle = this.#records === 0 ? this.#idle + 1 : 0;
    this.#records = 0;
    this.#latencies = [];
    this.#draw();
    if (this.#idle > IDLE_STEPS) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
  }

  #push<T>(values: T[], value: T): void {
    values.push(value);
    values.shift();
  }

  #draw(): void {
    const seconds = this.#rates.map((_, i) => ((i - POINTS + 1) * STEP_MS) / 1000);
    this.#rate.setData([seconds, this.#rates]);
    this.#ack.setData([seconds, this.#acks]);
  }
}
