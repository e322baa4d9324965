/** A log of the edge over Node's SQLite, with joins and pushes as its object makes them. */
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { concat } from "../../src/record/bytes.ts";
import { readHeader, stampBaseOffset } from "../../src/record/format.ts";
import type { OutboxJoin } from "../../src/sync/sync-frames.ts";
import { Archive } from "../../worker/store/segment-archive.ts";
import type { Sql, SqlRow, SqlValue } from "../../worker/store/sql.ts";
import type { StreamJudge } from "../../worker/stream/batch-check.ts";
import { joinOutbox } from "../../worker/stream/join.ts";
import type { OutboxBounds, Speaker } from "../../worker/stream/outboxes.ts";
import type { PushTaken } from "../../worker/stream/push.ts";
import { Stream, type StreamHost } from "../../worker/stream/stream.ts";
import type { StreamConfig } from "../../worker/stream/stream-config.ts";
import { releaseKernel } from "../support/kernels.ts";
import { nodeSql } from "../support/node-sql.ts";
import { STREAM_CONFIG } from "../support/stream-config.ts";

export const kernel = await releaseKernel();
export const A = "00000000000000aa";
export const B = "00000000000000bb";
export const OWNER = "AAAAAAAAAAAA";
const encoder = new TextEncoder();

const JOIN: OutboxJoin = {
  outbox: A,
  generation: 1,
  term: 1,
  registered: false,
  first: 0,
  end: 0,
  passed: 0,
  life: null,
  stream: null,
  samples: [],
};

export function batchAt(position: number, records = 1, value = "v", producerId = 7): Uint8Array {
  const builder = new BatchBuilder(kernel);
  for (let i = 0; i < records; i++)
    builder.tryAppend({
      key: encoder.encode(`k${(position + i) % 2}`),
      value: encoder.encode(value),
      timestamp: 1_000,
    });
  const batch = builder.build({
    producerId,
    producerEpoch: Math.min(0, producerId),
    baseSequence: producerId < 0 ? -1 : position,
  });
  stampBaseOffset(batch, position);
  return batch;
}

export class Edge {
  now = 1_764_000_000_000;
  stream!: Stream;
  aborted: string | undefined;
  /** Where sealed segments are read. Default: there is no object storage. */
  archive = (): Archive => new Archive(undefined, kernel);
  /** The log's end has moved, or it was closed. */
  onChange: () => void = () => undefined;
  /** The stream's schema. */
  judge: StreamJudge | undefined;
  #random = 0;

  constructor(
    readonly sql: Sql = nodeSql(),
    readonly bounds: OutboxBounds = {},
  ) {}

  /** Opens what the tables hold, or makes a log. */
  async open(config: Partial<StreamConfig> = {}): Promise<this> {
    const host: StreamHost = {
      sql: this.sql,
      kernel,
      archive: this.archive(),
      now: () => this.now,
      random: () => ++this.#random,
      breathe: () => Promise.resolve(),
      readSource: () => Promise.reject(new Error("no source")),
      onChange: () => this.onChange(),
      onSealed: () => {},
      abort: (reason) => (this.aborted = reason),
      outboxes: this.bounds,
      judgeOf: () => this.judge,
    };
    this.stream = (await Stream.load(host)) ?? (await Stream.create(host, { ...STREAM_CONFIG, ...config }));
    return this;
  }

  get outboxes() {
    return this.stream.outboxes;
  }

  async join(fields: Partial<OutboxJoin> = {}, mayWrite = true) {
    const { outboxes, pushes } = this.stream;
    const books = { outboxes, pushes, nowMs: this.now };
    const { refusal, joined } = await joinOutbox(
      this.stream,
      books,
      { ...JOIN, ...fields },
      { owner: OWNER, mayWrite },
    );
    return { refusal, ...joined };
  }

  async push(
    batches: readonly Uint8Array[],
    { readTo, previous = 0, ...speaker }: Partial<Speaker> & { readTo?: number; previous?: number } = {},
  ): Promise<PushTaken> {
    const expected = readHeader(batches[0]!).baseOffset;
    const push = { expected, at: expected, readTo, previous, batches: concat(batches.map((batch) => batch.slice())) };
    const checked = await this.stream.pushes.check(push);
    return this.stream.pushes.take({ outbox: A, generation: 1, term: 1, owner: OWNER, ...speaker }, checked);
  }

  async append(records = 1): Promise<void> {
    await this.stream.appendBatches([batchAt(0, records, "v", -1)], undefined);
  }

  rows(query: string, ...bindings: SqlValue[]): SqlRow[] {
    return [...this.sql.exec(query, ...bindings)];
  }
}

export const edge = (bounds?: OutboxBounds): Promise<Edge> => new Edge(nodeSql(), bounds).open();
