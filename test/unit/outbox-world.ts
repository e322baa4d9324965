/**
 * The edge's registry of outboxes against a model, over Node's SQLite: seeded runs of joins, pushes side by side,
 * claims, repeats, other appends, seals, sleeps, and a power cut at any statement. After each step and each waking
 * every entry must be the model's, the log must hold what the model took, each push whole or not at all, and a device
 * that was told of the log must not be told that it went back.
 */
import type { PackingKernel } from "../../src/kernel/types.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { readHeader, stampBaseOffset } from "../../src/record/format.ts";
import { concat } from "../../src/record/bytes.ts";
import { decodeBatch, splitBatches } from "../../src/record/record-batch.ts";
import { EdgeError } from "../../worker/errors.ts";
import type { OutboxEntry } from "../../worker/store/outbox-bytes.ts";
import { Archive } from "../../worker/store/segment-archive.ts";
import type { Speaker } from "../../worker/stream/outboxes.ts";
import { Stream, type StreamHost } from "../../worker/stream/stream.ts";
import { Random } from "../simulation/prng.ts";
import { DyingSql, nodeSql } from "../support/node-sql.ts";
import { STREAM_CONFIG } from "../support/stream-config.ts";

const OWNERS = ["AAAAAAAAAAAA", "-_9zAAAAAAAB"];
const IDS = Array.from({ length: 6 }, (_, i) => `70000000000000${i}f`.padStart(16, "0"));
/** Fewer than there are outboxes, so that seals spill. */
const HOT_MAX = 3;
const LARGE_BYTES = 600_000;

type Known = Omit<OutboxEntry, "seenAt">;
const NOTHING_PUSHED = { lastOffset: -1, lastCrc: 0 };

interface Asked {
  readonly speaker: Speaker | undefined;
  readonly batches: readonly Uint8Array[];
  readonly names: readonly string[];
  readonly expected: number;
  readonly previous: number;
  readonly readTo: number | undefined;
}

/** What the model says of a request, in the order of the queue. */
interface Judged {
  readonly asked: Asked;
  readonly code: string | undefined;
  readonly lastOffset: number;
  readonly entry: Known | undefined;
}

export interface WorldResult {
  readonly failures: string[];
  readonly fired: Record<string, number>;
  readonly writes: number;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const BAR = 0x7c;
const SPACE = 0x20;
/** The builder copies it, so that one serves all large records. */
const LARGE = new Uint8Array(LARGE_BYTES).fill(SPACE);
const HEAD_BYTES_MAX = 16;

const nameIn = (value: Uint8Array): string => decoder.decode(value.subarray(0, value.indexOf(BAR) >>> 0));

/** A record's value: its name, a bar, and what makes it large. */
function valueOf(name: string, isLarge: boolean): Uint8Array {
  const head = encoder.encode(`${name}|`);
  if (!isLarge) return head;
  LARGE.fill(SPACE, 0, HEAD_BYTES_MAX).set(head);
  return LARGE;
}

export class OutboxWorld {
  readonly failures: string[] = [];
  readonly fired: Record<string, number> = {};
  readonly #kernel: PackingKernel;
  readonly #random: Random;
  readonly #inner = nodeSql();
  readonly #known = new Map<string, Known>();
  /** As of the queue's end; the log below it may not be there yet. */
  readonly #log: string[] = [];
  readonly #killAt: number | undefined;
  #sql!: DyingSql;
  #stream!: Stream;
  #told: { readonly life: string; readonly end: number } | undefined;
  /** Of the log's own producer, which has the id that the outboxes' batches have: its sequences are not theirs. */
  #sequence = 0;
  #asking = 0;
  #names = 0;
  writes = 0;

  /** Power is lost at the `killAt`th write; without it at times of the seed's choice. */
  constructor(kernel: PackingKernel, seed: number, killAt?: number) {
    this.#kernel = kernel;
    this.#random = new Random(seed, 0x6f7574);
    this.#killAt = killAt;
  }

  async run(steps: number): Promise<WorldResult> {
    await this.#start();
    if (this.#killAt !== undefined) this.#sql.after = this.#killAt;
    for (let step = 0; step < steps && this.failures.length === 0; step++) {
      try {
        await this.#step();
        if (this.#sql.isDead) await this.#wake("power lost");
        await this.#compare(`step ${step}`);
      } catch (thrown) {
        this.failures.push(`step ${step}: ${String((thrown as Error).stack)}`);
      }
    }
    return { failures: this.failures, fired: this.fired, writes: this.writes };
  }

  #count(what: string): void {
    this.fired[what] = (this.fired[what] ?? 0) + 1;
  }

  #fail(what: string): void {
    this.failures.push(what);
  }

  async #start(): Promise<void> {
    const counted = {
      exec: (query: string, ...bindings: never[]) => {
        if (!query.startsWith("SELECT")) this.writes++;
        return this.#inner.exec(query, ...bindings);
      },
      transaction: <T>(work: () => T): T => this.#inner.transaction(work),
    };
    const sql = (this.#sql = new DyingSql(counted));
    const host: StreamHost = {
      sql,
      kernel: this.#kernel,
      archive: new Archive(undefined, this.#kernel),
      now: () => 1_764_000_000_000,
      random: () => this.#random.u32(),
      breathe: () => Promise.resolve(),
      readSource: () => Promise.reject(new Error("no source")),
      onChange: () => {},
      onSealed: () => {},
      abort: () => void (sql.isDead = true),
      outboxes: { hotMax: HOT_MAX },
    };
    this.#stream = (await Stream.load(host)) ?? (await Stream.create(host, STREAM_CONFIG));
  }

  async #step(): Promise<void> {
    const random = this.#random;
    if (this.#killAt === undefined && random.chance(0.08)) this.#sql.after = random.int(7);
    const kind = random.int(100);
    if (kind < 30) return this.#join();
    if (kind < 80) return this.#requests(random.between(1, 3));
    if (kind < 92) return this.#seal();
    this.#count("sleep");
    return this.#wake("slept");
  }

  async #seal(): Promise<void> {
    this.#count("seal");
    const before = this.#stream.outboxes.count;
    await this.#stream.log.roll().catch((thrown: unknown) => this.#unlessDead(thrown));
    if (!this.#sql.isDead && this.#stream.outboxes.count < before) this.#count("spill");
  }

  #unlessDead(thrown: unknown): void {
    if (!this.#sql.isDead) throw thrown;
  }

  /** Opens the log anew. Of `pending`, in their order, the log has the first ones, each whole. */
  async #wake(why: string, pending: readonly Judged[] = []): Promise<void> {
    this.#count(why);
    await this.#start();
    const log = await this.#read();
    for (const judged of pending) {
      if (this.#log.length >= log.length) break;
      this.#took(judged);
    }
    if (log.join() !== this.#log.join())
      this.#fail(`${why}: the log has ${log.length} records, not those of the model`);
    const { outboxes } = this.#stream;
    if (this.#told && outboxes.lives.wentBack(this.#told.life, this.#told.end))
      this.#fail(`${why}: "back", and it is not`);
  }

  async #read(): Promise<string[]> {
    const found: string[] = [];
    const { tail } = this.#stream;
    for (let at = this.#stream.start; at < tail;) {
      const { bytes, nextOffset } = await this.#stream.readBatches(at, tail, 1 << 20);
      for (const each of splitBatches(bytes)) {
        const batch = await decodeBatch(this.#kernel, each);
        for (let i = 0; i < batch.count; i++) found.push(nameIn(batch.valueAt(i)!));
      }
      at = nextOffset;
    }
    return found;
  }

  async #compare(when: string): Promise<void> {
    const { outboxes, tail } = this.#stream;
    // Half of the time the entries stay as a waking has left them.
    if (this.#random.chance(0.5)) return;
    for (const id of IDS) {
      const { seenAt: _, ...entry } = outboxes.entryOf(id) ?? { seenAt: 0 };
      const wanted = this.#known.get(id) ?? {};
      if (JSON.stringify(sorted(entry)) !== JSON.stringify(sorted(wanted)))
        this.#fail(`${when}: ${id} is ${JSON.stringify(entry)}, and should be ${JSON.stringify(wanted)}`);
    }
    if (tail !== this.#log.length) this.#fail(`${when}: the log ends at ${tail}, not ${this.#log.length}`);
  }

  // --- joins -------------------------------------------------------------------------------------------------------

  #standing(id: string): { generation: number; term: number } {
    const random = this.#random;
    const { generation, term } = this.#known.get(id) ?? { generation: 1, term: 1 };
    if (random.chance(0.7)) return { generation, term };
    return {
      generation: Math.max(1, generation + random.between(-1, 1)),
      term: Math.max(0, term + random.between(-1, 2)),
    };
  }

  #join(): void {
    const random = this.#random;
    const outbox = IDS[random.int(IDS.length)]!;
    const known = this.#known.get(outbox);
    const standing = this.#standing(outbox);
    const owner = random.chance(0.9) ? (known?.owner ?? OWNERS[random.int(2)]!) : OWNERS[random.int(2)]!;
    const registered = random.chance(known ? 0.9 : 0.2);
    const first = known ? 0 : random.int(4);
    const end = this.#stream.tail;
    let wanted: string | undefined;
    let entry: Known | undefined = known;
    if (!known && registered) wanted = "UNKNOWN_OUTBOX";
    else if (!known) entry = { since: end, ...standing, next: first, ...NOTHING_PUSHED, owner };
    else if (known.owner !== owner) wanted = "FORBIDDEN";
    else if (order(standing, known) < 0) wanted = "FENCED_LEADER";
    else entry = { ...known, ...standing };
    try {
      const joining = { outbox, ...standing, owner, registered, first, mayRegister: true };
      const { refusal } = this.#stream.outboxes.join(joining, end);
      if (refusal !== wanted) this.#fail(`a join is ${refusal}, and should be ${wanted}`);
    } catch (thrown) {
      return this.#unlessDead(thrown);
    }
    this.#count(wanted ?? "joined");
    if (!wanted) this.#known.set(outbox, entry!);
    this.#told = { life: this.#stream.outboxes.lives.current, end };
  }

  // --- pushes ------------------------------------------------------------------------------------------------------

  #batchAt(
    position: number,
    records: number,
    isLarge: boolean,
    sequence = this.#random.int(1_000),
  ): { batch: Uint8Array; names: string[] } {
    const builder = new BatchBuilder(this.#kernel);
    const names = Array.from({ length: records }, () => `r${this.#names++}`);
    for (const name of names) {
      builder.tryAppend({ key: null, value: valueOf(name, isLarge), timestamp: 1_000 });
    }
    const batch = builder.build({ producerId: 7, producerEpoch: 0, baseSequence: sequence });
    stampBaseOffset(batch, position);
    return { batch, names };
  }

  #batchesFrom(position: number): { batches: Uint8Array[]; names: string[] } {
    const random = this.#random;
    const isLarge = random.chance(0.15);
    const batches: Uint8Array[] = [];
    const names: string[] = [];
    for (let i = random.between(1, 3); i > 0; i--) {
      const made = this.#batchAt(position + names.length, isLarge ? 1 : random.between(1, 3), isLarge);
      batches.push(made.batch);
      names.push(...made.names);
    }
    return { batches, names };
  }

  /** `ahead` is what the model expects of the outboxes once what is asked before is taken. */
  #ask(ahead: ReadonlyMap<string, Known>): Asked {
    const random = this.#random;
    if (random.chance(0.2)) {
      const { batch, names } = this.#batchAt(0, random.between(1, 2), false, this.#asking);
      this.#asking += names.length;
      return { speaker: undefined, batches: [batch], names, expected: 0, previous: 0, readTo: undefined };
    }
    const outbox = IDS[random.int(IDS.length)]!;
    const known = ahead.get(outbox);
    const standing = this.#standing(outbox);
    const owner = random.chance(0.95) ? (known?.owner ?? OWNERS[0]!) : OWNERS[random.int(2)]!;
    const readTo = random.chance(0.15) ? Math.max(0, this.#stream.tail - random.int(3)) : undefined;
    const wrong = random.chance(0.1) ? 1 : 0;
    const expected = (known?.next ?? 0) + wrong + (readTo === undefined ? 0 : random.int(2));
    const previous = (known?.lastCrc ?? 0) ^ (random.chance(0.05) ? 1 : 0);
    return { speaker: { outbox, ...standing, owner }, ...this.#batchesFrom(expected), expected, previous, readTo };
  }

  #judge(asked: Asked, ahead: Map<string, Known>, from: number, committed: number): Judged {
    const { speaker, batches, names, expected, previous, readTo } = asked;
    const lastOffset = from + names.length - 1;
    const refuse = (code: string): Judged => ({ asked, code, lastOffset: -1, entry: undefined });
    if (!speaker) return { asked, code: undefined, lastOffset, entry: undefined };
    const known = ahead.get(speaker.outbox);
    const { generation, term, owner } = speaker;
    if (known && known.owner !== owner) return refuse("FORBIDDEN");
    const pushed = { term, next: expected + names.length, lastOffset, lastCrc: readHeader(batches.at(-1)!).crc };
    let entry: Known;
    if (readTo !== undefined) {
      if (known ? readTo <= known.lastOffset : readTo < 0) return refuse("OUTBOX_CONFLICT");
      if (readTo > committed) return refuse("OUTBOX_CONFLICT");
      const granted = Math.max(generation, known?.generation ?? 0) + 1;
      entry = { since: known?.since ?? 0, owner, generation: granted, ...pushed };
    } else {
      if (!known) return refuse("UNKNOWN_OUTBOX");
      if (order(speaker, known) !== 0) return refuse("FENCED_LEADER");
      if (expected !== known.next || previous !== known.lastCrc) return refuse("OUTBOX_CONFLICT");
      entry = { ...known, ...pushed };
    }
    ahead.set(speaker.outbox, entry);
    return { asked, code: undefined, lastOffset, entry };
  }

  async #requests(count: number): Promise<void> {
    const ahead = new Map(this.#known);
    this.#asking = this.#sequence;
    const judged: Judged[] = [];
    let end = this.#log.length;
    for (let i = 0; i < count; i++) {
      const each = this.#judge(this.#ask(ahead), ahead, end, this.#stream.tail);
      judged.push(each);
      if (each.code === undefined) end = each.lastOffset + 1;
      if (each.entry && each.asked.readTo === undefined && this.#random.chance(0.15))
        judged.push({ ...each, code: "duplicate" });
    }
    const results = await this.#send(judged);
    const taken = judged.filter(({ code }) => code === undefined);
    if (this.#sql.isDead) return this.#wake("power lost", taken);
    for (const [i, { asked, code, lastOffset }] of judged.entries()) {
      this.#count(code ?? (asked.readTo === undefined ? (asked.speaker ? "pushed" : "appended") : "claimed"));
      const wanted = code ?? `ok ${lastOffset}`;
      const is = code === "duplicate" ? `duplicate ${lastOffset}` : wanted;
      if (results[i] !== is) this.#fail(`a push is ${results[i]}, and should be ${is}`);
      if (code === undefined) this.#took(judged[i]!);
    }
    if (this.#told) this.#told = { life: this.#stream.outboxes.lives.current, end: this.#log.length };
  }

  #took({ asked: { names, speaker }, entry }: Judged): void {
    this.#log.push(...names);
    if (entry) this.#known.set(speaker!.outbox, entry);
    if (!speaker) this.#sequence += names.length;
  }

  /** All in one turn, so that they share a commit. */
  async #send(judged: readonly Judged[]): Promise<string[]> {
    const stream = this.#stream;
    const checked = await Promise.all(
      judged.map(async ({ asked: { speaker, batches, expected, previous, readTo } }) =>
        speaker
          ? stream.pushes.check({ expected, at: expected, readTo, previous, batches: concat(copies(batches)) })
          : undefined,
      ),
    );
    // It has its turn before what is queued now, and power may be lost between the two.
    const rolls = this.#random.chance(0.2);
    if (rolls && this.#killAt === undefined && this.#random.chance(0.3)) this.#sql.after = this.#random.between(3, 7);
    const roll = rolls ? stream.log.roll().then(() => this.#count("seal before")) : undefined;
    const work = judged.map(async ({ asked }, i) => {
      const push = checked[i];
      if (push) {
        const { duplicate, lastOffset } = await stream.pushes.take(asked.speaker!, push);
        return `${duplicate ? "duplicate" : "ok"} ${lastOffset}`;
      }
      const [done] = await stream.appendBatches(copies(asked.batches), undefined, { fromZero: true });
      return `ok ${done!.lastOffset}`;
    });
    await roll?.catch((thrown: unknown) => this.#unlessDead(thrown));
    const settled = await Promise.allSettled(work);
    return settled.map((each) => (each.status === "fulfilled" ? each.value : EdgeError.from(each.reason).code));
  }
}

const copies = (batches: readonly Uint8Array[]): Uint8Array[] => batches.map((batch) => batch.slice());
const sorted = (value: object): unknown[] => Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
type Standing = Pick<Speaker, "generation" | "term">;
const order = (a: Standing, b: Standing): number => a.generation - b.generation || a.term - b.term;

export const outboxWorld = (
  kernel: PackingKernel,
  seed: number,
  steps: number,
  killAt?: number,
): Promise<WorldResult> => new OutboxWorld(kernel, seed, killAt).run(steps);
