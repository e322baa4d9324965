/**
 * What an import of segments has brought so far: rows in tables aside, which no reader looks at, and in `meta` what is
 * asked for and how far it is.
 *
 *   "import"      id, and the request as it came: files, their sizes, damage    written once
 *   "import:at"   file, position, counts, damage                                with the rows of each piece
 *
 *   begin ──▶ stage, stage, … ──▶ take      Crash: the last finished step. A begin with another request starts again.
 */
import type { ImportDamage } from "../../src/store/segment-files.ts";
import type { OpenDamage } from "../../src/store/segment-scan.ts";
import { ASIDE, type ChunkRow, type ChunkTables, type SegmentRow } from "./chunk-tables.ts";

const ASKED = "import";
const AT = "import:at";

export interface ImportAsked {
  readonly id: string;
  /** The request as text: the same text is the same import. */
  readonly text: string;
}

/** How far an import is. */
export interface ImportProgress {
  /** The file that goes on, and where. */
  readonly file: number;
  readonly position: number;
  readonly batches: number;
  readonly records: number;
  /** Undefined until there is a batch. */
  readonly firstOffset?: number | undefined;
  readonly nextOffset: number;
  readonly damage: readonly ImportDamage[];
  /** Damage whose end is not found yet. */
  readonly open?: OpenDamage | undefined;
  /** All is the log's. */
  readonly done: boolean;
  /** When the last piece came. */
  readonly heardAt: number;
}

export class IncomingTables {
  readonly #tables: ChunkTables;

  constructor(tables: ChunkTables) {
    this.#tables = tables;
  }

  asked(): ImportAsked | undefined {
    return this.#read<ImportAsked>(ASKED);
  }

  progress(): ImportProgress {
    return this.#read<ImportProgress>(AT)!;
  }

  #read<T>(key: string): T | undefined {
    const text = this.#tables.meta(key);
    return text === undefined ? undefined : (JSON.parse(String(text)) as T);
  }

  begin(asked: ImportAsked, progress: ImportProgress): void {
    this.#tables.transaction(() => {
      this.#tables.createAside();
      this.#tables.saveMeta(ASKED, JSON.stringify(asked));
      this.#save(progress);
    });
  }

  /** One piece: segments and rows of its batches, and how far the import is with it. */
  stage(segments: readonly SegmentRow[], rows: readonly ChunkRow[], progress: ImportProgress): void {
    this.#tables.transaction(() => {
      for (const row of rows) this.#tables.insertChunk(row, ASIDE);
      for (const segment of segments) this.#tables.insertSegment(segment, ASIDE);
      this.#save(progress);
    });
  }

  /** All that came is the log's; `also` is written with it. */
  take(progress: ImportProgress, also: () => void): void {
    this.#tables.transaction(() => {
      this.#tables.takeAside();
      this.#save({ ...progress, done: true });
      also();
    });
  }

  #save(progress: ImportProgress): void {
    this.#tables.saveMeta(AT, JSON.stringify(progress));
  }

  /** Nothing was asked for, and nothing is there. */
  discard(): void {
    this.#tables.transaction(() => {
      this.#tables.dropAside();
      for (const key of [ASKED, AT]) this.#tables.dropMeta(key);
    });
  }
}
