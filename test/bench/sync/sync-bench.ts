/**
 * What the workloads of the benchmarks of sync share: sizes, the devices of a run, bare sockets beside them, counts of
 * processor time and rows, and the figures.
 */
import { type EdgeLog, EdgeSocket, type Wire } from "../../../src/sync/edge-socket.ts";
import { socketProtocols } from "../../../src/sync/http-words.ts";
import { timers } from "../../edge/timers.ts";
import { releaseKernel } from "../../support/kernels.ts";
import { nanosecondsOf, ofGroup } from "../../tabs/processes.ts";
import type { Fleet } from "../../sync/fleet.ts";
import { FaultProxy } from "../../sync/proxy.ts";
import { tokenOf } from "../../sync/tokens.ts";
import { note, number } from "../edge/contest.ts";
import { Batches } from "../edge/sockets.ts";
import { BenchDevice, type BenchTab } from "./bench-device.ts";

export const BYTES = 100;
export const RECORDS = 1_000;
const IN_FLIGHT = 8;
/** Segments as an app has them. */
const OF_TOPIC = { serializer: "bytes", segmentBytes: 8 * 1024 * 1024 } as const;
const TOKEN_SECONDS = 3_600;
/** What a path holds: more than the largest window of a follow, so that it bounds nothing. */
const UNDERWAY_BYTES = 16 * 1024 * 1024;

export const FULL = {
  ...{ rounds: 3, push: 100, catchUp: 1_000, live: 200, liveFar: 30, idleMs: 180_000, local: 100 },
  /** Tides whose connections are cut in turn, and how often each. */
  ...{ tides: 12, cuts: 9 },
  /** Leaders that crash, and that hang. */
  ...{ crashes: 20, hangs: 5 },
  /** Batches of the topic that is opened: 1 GiB. How often it is opened. */
  ...{ open: 10_000, openings: 9 },
};
export const QUICK: Size = {
  ...{ rounds: 1, push: 3, catchUp: 5, live: 5, liveFar: 3, idleMs: 500, local: 3 },
  ...{ tides: 2, cuts: 1, crashes: 1, hangs: 0 },
  ...{ open: 5, openings: 1 },
};
export type Size = typeof FULL;

export interface Result {
  readonly figures: Record<string, number>;
  readonly rounds: Record<string, readonly number[]>;
}

export type Way = "direct" | "proxy" | "local";

export class SyncBench {
  #logs = 0;
  #count = 0;
  readonly devices: BenchDevice[] = [];
  /** Of tides that are beside others in a browser. */
  readonly #networks: FaultProxy[] = [];

  constructor(
    readonly fleet: Fleet,
    readonly size: Size,
    readonly result: Result,
  ) {}

  newLog(): string {
    return `bench/${++this.#logs}`;
  }

  /**
   * A device of its own, with no tide yet. Its tokens live as long as those of most apps: each renewal costs some 250
   * bytes.
   */
  async added(path: string): Promise<BenchDevice> {
    const { name, network, config } = await this.#place(path);
    const device = await BenchDevice.start({ name, stage: this.fleet.stage.url, network, config });
    this.devices.push(device);
    return device;
  }

  async #place(path: string) {
    const name = `bench-${++this.#count}`;
    const network = await new FaultProxy(this.fleet.edge.port, UNDERWAY_BYTES).start();
    const tokens = this.fleet.tokens.urlOf(name, TOKEN_SECONDS);
    return { name, network, config: { edge: network.url, path, tokens, ...OF_TOPIC } };
  }

  /** A tide of its own in a window of a browser that is there, behind a network of its own. */
  async beside(device: BenchDevice, path: string): Promise<{ readonly tab: BenchTab; readonly network: FaultProxy }> {
    const { name, network, config } = await this.#place(path);
    this.#networks.push(network);
    const tab = await device.window(this.fleet.stage.url);
    await tab.call("open", { ...config, name, database: name });
    return { tab, network };
  }

  /** The same with its tide open; its topic holds bytes and is synced with this log, unless it is "local". */
  async device(path: string, way: Way = "direct"): Promise<BenchTab> {
    const device = await this.added(path);
    await device.openTide({ edge: this.edgeBy(way, device) });
    return device.tab;
  }

  /**
   * The edge's address for a device. Bare sockets and devices beside them take the direct way: the proxy is in this
   * process, and costs processor time and a hop. Undefined for a local tide.
   */
  edgeBy(way: Way, { network }: BenchDevice): string | undefined {
    return { direct: this.fleet.edge.url, proxy: network.url, local: undefined }[way];
  }

  async clear(): Promise<void> {
    for (const device of this.devices.splice(0)) await device.end();
    for (const network of this.#networks.splice(0)) await network.stop();
  }

  /** A log at the edge through a socket of this process. */
  async bare(path: string): Promise<EdgeLog> {
    const { url } = this.fleet.edge;
    const token = await tokenOf("bare", 600);
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/octet-stream" };
    await fetch(`${url}/v1/stream/${path}`, { method: "PUT", headers });
    const socket = new WebSocket(`${url.replace("http", "ws")}/v1/stream/${path}`, [...socketProtocols(token)]);
    socket.binaryType = "arraybuffer";
    await new Promise((resolve, reject) => {
      socket.addEventListener("open", resolve, { once: true });
      socket.addEventListener("error", () => reject(new Error("the WebSocket did not open")), { once: true });
    });
    return EdgeSocket.bind(socket as Wire, timers);
  }

  /** Records a second of batches through a bare socket. */
  async bareRate(path: string, batches: number): Promise<number> {
    const log = await this.bare(path);
    const source = new Batches(await releaseKernel(), RECORDS, BYTES, Math.floor(Math.random() * 2 ** 40));
    const started = performance.now();
    let left = batches;
    await Promise.all(
      Array.from({ length: IN_FLIGHT }, async () => {
        while (left-- > 0) await log.append([source.next()]);
      }),
    );
    const rate = (batches * RECORDS * 1_000) / (performance.now() - started);
    log.socket.close();
    return rate;
  }

  /** Starts to count processor time. What it returns gives milliseconds since then, of all browsers and of the edge. */
  cpu(): () => { readonly device: number; readonly edge: number } {
    const spent = (leaders: readonly number[]): number =>
      leaders.flatMap(ofGroup).reduce((sum, pid) => sum + nanosecondsOf(pid), 0) / 1e6;
    const now = () => ({ device: spent(this.devices.map(({ pid }) => pid)), edge: spent([this.fleet.edge.pid!]) });
    const began = now();
    return () => {
      const { device, edge } = now();
      return { device: device - began.device, edge: edge - began.edge };
    };
  }

  async rows(): Promise<number> {
    return Number(await (await fetch(`${this.fleet.edge.url}/rows`)).text());
  }

  keep(key: string, values: readonly number[], value: number): void {
    this.result.rounds[key] = values;
    this.result.figures[key] = value;
    note(`${key}: ${number(value)}  (${values.map(number).join(", ")})`);
  }
}
