/**
 * What all steps of a history share (history.ts): the platform under the edge, the model beside it, and what happens by
 * itself meanwhile.
 */
import { Random } from "../prng.ts";
import type * as Entry from "./entry.ts";
import { checkLeftovers } from "./leftovers.ts";
import { Model, type ModelStream } from "./model.ts";
import { type Answer, Platform } from "./platform.ts";
import { Reads } from "./reads.ts";

export type Edge = typeof Entry;
export const PATHS = ["a", "b", "c/d", "é ñ"];
export const TYPES = ["application/json", "text/plain", "application/octet-stream"] as const;
export const BATCHES = "application/vnd.tidemark.batches";
export const LINES = "application/x-ndjson";
export const offsetText = (offset: number): string => `${String(offset).padStart(16, "0")}_${"0".repeat(16)}`;
export const pathOf = (path: string): string => path.split("/").map(encodeURIComponent).join("/");
export const urlOf = (path: string): string => `/v1/stream/${pathOf(path)}`;
const encoder = new TextEncoder();
export const bytesOf = (text: string): Uint8Array => encoder.encode(text);
export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

export class Mismatch extends Error {}

export class Core {
  readonly platform: Platform;
  readonly model = new Model();
  readonly edge: Edge;
  readonly seed: number;
  readonly trace: string[] = [];
  readonly counts: Record<string, number> = {};
  readonly reads: Reads;

  constructor(edge: Edge, seed: number) {
    this.edge = edge;
    this.seed = seed;
    const random = new Random(seed, 1);
    this.platform = new Platform(edge as never, random.chance(0.8));
    const slow = random.chance(0.5);
    this.platform.alarmDelay = () => (slow ? random.int(3_000) : random.int(3));
    this.reads = new Reads(this);
  }

  get now(): number {
    return this.platform.time.now;
  }
  count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }
  fail(why: string): never {
    throw new Mismatch(why);
  }

  async ask(method: string, target: string, headers: Record<string, string> = {}, body?: Uint8Array): Promise<Answer> {
    const answer = await this.platform.ask(method, target, headers, body);
    this.note(method, target, headers, body, answer);
    return answer;
  }
  note(
    method: string,
    target: string,
    headers: Record<string, string>,
    body: Uint8Array | undefined,
    answer: Answer,
  ): void {
    const shown = Object.entries(headers)
      .map(([name, value]) => `${name}: ${value}`)
      .join("; ");
    const text = (bytes?: Uint8Array): string =>
      bytes ? Buffer.from(bytes).toString("utf8").slice(0, 160).replaceAll("\n", "⏎") : "";
    const told = [...answer.headers]
      .filter(([name]) => /^(stream-|tidemark-|etag|producer)/.test(name))
      .map(([name, value]) => `${name}: ${value.replace(/_0{16}/, "").replace(/^0+(?=\d)/, "")}`)
      .join("; ");
    const asked = `${this.now % 1e9} ${method} ${target} {${shown}} ${text(body)}`;
    this.trace.push(`${asked}\n      → ${answer.status} {${told}} ${text(answer.bytes)}`);
    if (/INTERNAL|CORRUPT/.test(answer.headers.get("tidemark-error") ?? ""))
      this.fail(`${method} ${target}: ${text(answer.bytes)}`);
  }
  status(answer: Answer, wanted: number | readonly number[], what: string): void {
    if ([wanted].flat().includes(answer.status)) return;
    this.fail(`${what}: status ${answer.status} (${answer.headers.get("tidemark-error")}), expected ${String(wanted)}`);
  }
  header(answer: Answer, name: string, wanted: string | null, what: string): void {
    const found = answer.headers.get(name);
    if (found !== wanted) this.fail(`${what}: ${name} is ${found}, expected ${wanted}`);
  }

  async end(): Promise<void> {
    this.trace.push("# end");
    this.platform.bucket.isAway = false;
    await this.platform.pass(130_000);
    await this.observeAll();
    for (const path of PATHS) await this.reads.whole(path);
    // Leftovers of a put to object storage are deleted after 15 minutes.
    await this.platform.pass(20 * 60_000);
    await this.observeAll();
    await this.platform.pass(60_000);
    checkLeftovers(this);
    if (this.platform.faults.length > 0) this.fail(`fault: ${this.platform.faults[0]}`);
  }

  async observeAll(): Promise<void> {
    for (const path of PATHS) if (this.model.at.has(path)) await this.observe(path);
  }

  /** Takes over what may have happened by itself: a stream's end, retention, compaction. */
  async observe(path: string): Promise<ModelStream | undefined> {
    for (const each of PATHS) await this.#expire(each);
    const stream = this.model.visible(path);
    await this.reads.head(path);
    if (stream) await this.reads.reconcile(stream);
    return this.model.visible(path);
  }

  async #expire(path: string): Promise<void> {
    const stream = this.model.at.get(path);
    if (!stream) return;
    // Its forks may be over as well, also those of a fork that was deleted.
    for (const fork of [...stream.forks]) await this.#expire(fork.path);
    if (stream.deleted) return;
    const [from, to] = stream.ends;
    if (this.now + 30_000 < from) return;
    // Near its end nobody knows: time passes until it is over.
    if (this.now < to + 5) {
      await this.platform.pass(to + 5 - this.now);
      return this.#expire(path);
    }
    // Its object ends it when it is asked, if its alarm is late.
    const answer = await this.ask("HEAD", urlOf(path));
    this.status(answer, stream.forks.size > 0 ? 410 : 404, "HEAD behind the stream's end");
    await this.platform.pass(20);
    this.count("expired");
    if (stream.forks.size > 0) this.count("expired with forks");
    // Those that read from it first: they may have ended as well.
    this.model.remove(stream);
    this.trace.push(`  (${path} is over)`);
  }
}
