/**
 * The pieces of the format around record batches (slot, marks, footer, catalog, producers, chunk row, R2 segment), each
 * with fixed inputs: how today's code writes it, and what today's code must read in it. make-pieces.ts wrote the files
 * of pieces/ from this table; pieces.test.ts compares them.
 */
import type { Kernel } from "../../src/kernel/types.ts";
import { loadSnapshot } from "../../src/log/producer-snapshot.ts";
import { ProducerState } from "../../src/log/producer-state.ts";
import { splitBatches } from "../../src/record/record-batch.ts";
import { readHeader } from "../../src/record/format.ts";
import { Catalog, type CatalogState } from "../../src/store/catalog.ts";
import { decodeFooter, encodeFooter, type Footer } from "../../src/store/footer.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { takeSnapshot } from "../../src/store/take-snapshot.ts";
import { encodeHeaderPage, encodeMark, type Mark, markPosition, type Role } from "../../src/store/slot.ts";
import { readMark, readRole } from "../../src/store/slot-read.ts";
import { readExactly } from "../../src/store/volume.ts";
import { rowsOf } from "../../worker/store/chunk-rows.ts";
import { type ChunkRow, ChunkTables } from "../../worker/store/chunk-tables.ts";
import { damageIn } from "../../worker/store/chunk-walk.ts";
import { Archive } from "../../worker/store/segment-archive.ts";
import { encodeSegment } from "../../worker/store/segment-object.ts";
import { slowCrc32c, utf8 } from "../contract/kernel-samples.ts";
import { nodeSql } from "../support/node-sql.ts";
import { golden, manifest } from "./manifest.ts";

export interface GoldenPiece {
  readonly file: string;
  readonly contains: string;
  write(kernel: Kernel): Promise<Uint8Array>;
  /** Reads the bytes. The result must equal `says`. */
  read(kernel: Kernel, bytes: Uint8Array): Promise<unknown>;
  readonly says: unknown;
}

const T = 1_700_000_000_000;
const SLOT = 16 * 1024;
const slotWith = async (bytes: Uint8Array, at = 0): Promise<MemoryVolume> => {
  const volume = new MemoryVolume({ slotBytes: SLOT, slots: 3 });
  await volume.write(2, at, bytes);
  return volume;
};

const role: Role = { tide: "golden-tide", log: "orders-0", baseOffset: 5_000_000_000, epoch: 7, begun: 42 };
const fresh: Mark = {
  count: 0,
  baseOffset: role.baseOffset,
  position: 0,
  nextOffset: role.baseOffset,
  epoch: 7,
  clean: false,
};
const mark: Mark = {
  count: 9,
  baseOffset: role.baseOffset,
  position: 8_192,
  nextOffset: 5_000_000_100,
  epoch: 8,
  clean: true,
};
const place = { slot: 2, baseOffset: role.baseOffset, epoch: role.epoch };

const footer: Footer = {
  compacted: true,
  baseOffset: 5_000_000_000,
  nextOffset: 5_000_000_100,
  bodyBytes: 6_000,
  offsetIndexBytes: 8,
  timeIndexBytes: 12,
  producersBytes: 68,
  batches: 20,
  records: 90,
  firstTimestamp: T,
  maxTimestamp: T + 5_000,
  sealedAt: T + 60_000,
  bodyCrc: 0xdeadbeef,
  sectionsCrc: 0x01020304,
  previousFooterCrc: 0xcafef00d,
  epoch: 7,
  owner: 0x0badcafe,
};

const catalog: CatalogState = {
  id: "golden-tide",
  epoch: 8,
  usedSlots: 5,
  logs: [
    {
      name: "orders-0",
      born: 3,
      settings: { segmentMaxAgeMs: 60_000 },
      compacted: {
        to: 90,
        dueAt: T + 86_400_000,
        tombstoneRetentionMs: 86_400_000,
        mapTo: 90,
        at: 50,
        passDueAt: null,
      },
      logStartOffset: 10,
      segments: [
        {
          slot: 2,
          baseOffset: 0,
          epoch: 3,
          createdAt: T,
          begun: 4,
          sealed: {
            nextOffset: 100,
            bytes: 6_000,
            batches: 20,
            records: 90,
            maxTimestamp: T + 5_000,
            sealedAt: T + 60_000,
            compacted: true,
            offsetIndexBytes: 8,
            timeIndexBytes: 12,
            producersBytes: 68,
            footerCrc: 0xcafef00d,
          },
        },
        { slot: 4, baseOffset: 100, epoch: 7, createdAt: T + 60_000, begun: 9 },
      ],
      quarantined: [{ from: 20, to: 30, slot: 2, position: 512, bytes: 700, reason: "BAD_CRC" }],
      end: { nextOffset: 130, position: 2_048 },
      appending: 8,
    },
    {
      name: "clicks-0",
      logStartOffset: 0,
      segments: [{ slot: 3, baseOffset: 0, epoch: 8, createdAt: T, begun: 5 }],
      quarantined: [],
      end: { nextOffset: 0, position: 0 },
      appending: 0,
    },
  ],
};

/** A log with a note, and one that was made under another name. */
const noted: CatalogState = {
  ...catalog,
  logs: catalog.logs.map((log, at) => ({
    ...log,
    ...(at === 0 ? { name: "orders-0.out", madeAs: "orders-0", note: { v: 1, outbox: "0123456789abcdef" } } : {}),
  })),
};

async function catalogBytes(kernel: Kernel, state: CatalogState): Promise<Uint8Array> {
  const volume = new MemoryVolume({ slotBytes: SLOT, slots: 3 });
  const { catalog: copy } = await Catalog.read(volume, kernel);
  await copy.commit(state);
  const head = await readExactly(volume, 0, 0, 16);
  return readExactly(volume, 1, 0, 28 + new DataView(head.buffer).getUint32(12));
}

async function catalogIn(kernel: Kernel, bytes: Uint8Array): Promise<unknown> {
  const volume = new MemoryVolume({ slotBytes: SLOT, slots: 3 });
  for (const slot of [0, 1]) await volume.write(slot, 0, bytes);
  const { catalog: copy, state, copies } = await Catalog.read(volume, kernel);
  return { generation: copy.generation, copies, state };
}

const header = { ...readHeader(golden("plain.bin")), producerEpoch: 0, recordCount: 3 };
const producersOf = (): ProducerState => {
  const producers = new ProducerState(10);
  producers.forget(12);
  for (let i = 0; i < 7; i++)
    producers.record({ ...header, producerId: 1_000 + (i % 2), baseSequence: i * 3, crc: 0xf0000000 + i }, 100 + i * 3);
  producers.record(
    { ...header, producerId: 2 ** 53 - 1, producerEpoch: 32_767, baseSequence: 0x7ffffffe, crc: 1 },
    121,
  );
  return producers;
};
const producersIn = (producers: ProducerState) => ({
  forgotten: producers.forgotten,
  known: [1_000, 1_001, 2 ** 53 - 1].map((id) => producers.get(id)),
});

const chain = golden(manifest.chain.file);
const { baseOffset, nextOffset } = manifest.chain;
const row = (): ChunkRow => {
  const { batches: _, ...columns } = rowsOf(splitBatches(chain.slice()), 5, T)[0]!;
  return columns;
};
const COLUMNS = ["base_offset", "next_offset", "max_timestamp", "record_count", "written_at", "crc"] as const;

/** A row of the table: a line of JSON with the columns, and the blob behind it. */
async function chunkBytes(): Promise<Uint8Array> {
  const sql = nodeSql();
  const tables = new ChunkTables(sql);
  tables.create();
  tables.insertChunk(row());
  const [found] = [...sql.exec("SELECT * FROM chunk")];
  const line = JSON.stringify(Object.fromEntries(COLUMNS.map((name) => [name, found![name]])));
  return Buffer.concat([Buffer.from(`${line}\n`), found!["bytes"] as Uint8Array]);
}

async function chunkIn(kernel: Kernel, bytes: Uint8Array): Promise<unknown> {
  const end = bytes.indexOf(10);
  const columns = JSON.parse(Buffer.from(bytes.subarray(0, end)).toString()) as Record<string, number | null>;
  const sql = nodeSql();
  const tables = new ChunkTables(sql);
  tables.create();
  const names = COLUMNS.join(", ");
  const values = COLUMNS.map((name) => columns[name]!);
  [...sql.exec(`INSERT INTO chunk(${names}, bytes) VALUES(?, ?, ?, ?, ?, ?, ?)`, ...values, bytes.slice(end + 1))];
  const found = [...tables.chunksFrom(0)][0]!;
  const { bytes: blob, ...said } = found;
  return { ...said, bytes: blob.length, batches: splitBatches(blob).length, damage: damageIn(kernel, found, false) };
}

const KEY = "tenant/stream/segment";
const segment = (kernel: Kernel) =>
  encodeSegment(kernel, KEY, {
    baseOffset,
    nextOffset,
    epoch: 5,
    createdAt: T,
    sealedAt: T + 60_000,
    compacted: false,
    body: chain,
    producers: takeSnapshot(producersOf(), kernel, 1_000),
    previousFooterCrc: 0xcafef00d,
  });

async function segmentIn(kernel: Kernel, bytes: Uint8Array): Promise<unknown> {
  const { entry } = await segment(kernel);
  const source = { range: async (_: string, at: number, length: number) => bytes.slice(at, at + length) };
  const archive = new Archive(source, kernel);
  const opened = archive.open(entry);
  const found = await archive.read(opened, baseOffset, 1_000_000, nextOffset, true);
  const indexes = [opened.indexes.offset, opened.indexes.time].map((index) => Buffer.from(index).toString("hex"));
  const { records, batches, owner } = decodeFooter(kernel, bytes.subarray(-104))!;
  return {
    damage: opened.damage,
    bytes: found!.bytes.length,
    nextOffset: found!.nextOffset,
    indexes,
    records,
    batches,
    owner,
  };
}

export const goldenPieces: readonly GoldenPiece[] = [
  {
    file: "header-page.bin",
    contains: "the header page of a slot that begins a segment: its role and two marks at the start",
    write: async (kernel) => encodeHeaderPage(kernel, role, fresh),
    read: async (kernel, bytes) => {
      const volume = await slotWith(bytes);
      return [await readRole(kernel, volume, 2), await readMark(kernel, volume, place)];
    },
    says: [role, { ...fresh, count: 1 }],
  },
  {
    file: "mark.bin",
    contains: "a durable mark of a clean end",
    write: async (kernel) => encodeMark(kernel, mark),
    read: async (kernel, bytes) => readMark(kernel, await slotWith(bytes, markPosition(mark)), place),
    says: mark,
  },
  {
    file: "footer.bin",
    contains: "the footer of a compacted segment",
    write: async (kernel) => encodeFooter(kernel, footer).bytes,
    read: async (kernel, bytes) => decodeFooter(kernel, bytes),
    says: footer,
  },
  {
    file: "catalog.bin",
    contains: "a catalog of format 2, generation 1: a log with every field, and one with none that may be left out",
    write: (kernel) => catalogBytes(kernel, catalog),
    read: catalogIn,
    says: { generation: 1, copies: 2, state: catalog },
  },
  {
    file: "catalog-noted.bin",
    contains: "a copy of the catalog of version 3: of a log that has a note, and another name than its slots say",
    write: (kernel) => catalogBytes(kernel, noted),
    read: catalogIn,
    says: { generation: 1, copies: 2, state: noted },
  },
  {
    file: "producers.bin",
    contains: "a snapshot of three producers, one at the largest id, epoch and sequence",
    write: async (kernel) => takeSnapshot(producersOf(), kernel, 1_000),
    read: async (kernel, bytes) => {
      const producers = new ProducerState(10);
      return { loaded: loadSnapshot(producers, kernel, bytes, 124), ...producersIn(producers) };
    },
    says: { loaded: true, ...producersIn(producersOf()) },
  },
  {
    file: "chunk-row.bin",
    contains: "a row of the chunk table in a Durable Object: its columns as a line of JSON, then its blob",
    write: chunkBytes,
    read: chunkIn,
    // As older versions wrote it: no book has noted anything.
    says: { ...row(), origins: null, bytes: chain.length, batches: manifest.chain.batches, damage: [] },
  },
  {
    file: "segment.bin",
    contains: "a sealed segment as an object in R2: batches, two indexes, producers, footer",
    write: async (kernel) => (await segment(kernel)).bytes,
    read: segmentIn,
    says: {
      damage: [],
      bytes: chain.length,
      nextOffset,
      indexes: [manifest.chain.offset, manifest.chain.time],
      records: manifest.chain.batches * 3,
      batches: manifest.chain.batches,
      owner: slowCrc32c(utf8(KEY)),
    },
  },
];

const directory = new URL("./pieces/", import.meta.url);
export const pieceFile = (file: string): URL => new URL(file, directory);
