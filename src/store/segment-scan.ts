/**
 * Walks the bytes of Kafka's .log files and tells whole batches from damage. The bytes come in pieces, so that a file
 * may be larger than memory, and may come over a network (worker/stream/segment-imports.ts).
 *
 *   piece ──▶ batchesIn() ──▶ batches, each checked │ damage, once the batch behind it is found, or the files end
 *                         └─▶ where the next piece begins, and how many bytes it needs at least
 */
import { TidemarkError } from "../errors.ts";
import { type Kernel, Status, statusName } from "../kernel/types.ts";
import {
  ATTRIBUTE_TRANSACTIONAL,
  BATCH_HEADER_BYTES,
  type BatchHeader,
  CODEC_GZIP,
  CODEC_MASK,
  codecName,
  MAGIC,
  MAGIC_AT,
  nextOffsetOf,
  readHeader,
} from "../record/format.ts";
import type { ImportDamage } from "./segment-files.ts";

/** A broker keeps room ahead in its newest segment: zeros of this many bytes, or up to the end, end a file. */
export const WINDOW_BYTES = 1024 * 1024;
/** The length of a batch stands before this position, so zeros up to here are no batch. */
const LENGTH_END = 12;

export type OpenDamage = Omit<ImportDamage, "to">;

/** Bytes of a file, from `position` on. */
export interface FilePiece {
  readonly file: string;
  readonly fileBytes: number;
  readonly position: number;
  readonly bytes: Uint8Array;
}

export interface ScannedBatch {
  readonly file: string;
  readonly position: number;
  readonly header: BatchHeader;
  readonly bytes: Uint8Array;
}

/** The next piece begins at `position` and has at least `wants` bytes. At the file's end `wants` is 0. */
export interface ScanEnd {
  readonly position: number;
  readonly wants: number;
}

export interface ScanBounds {
  readonly batchBytesMax: number;
  /** The longest piece that can be had. A batch that claims more is too large, or its length is damaged. */
  readonly pieceBytesMax: number;
  /**
   * Damage is told and gone over. Otherwise the caller throws when it is told, which is at the latest when it is longer
   * than the largest batch.
   */
  readonly skips: boolean;
}

/** The state of a scan between two pieces. */
export interface ScanState {
  /** The next batch has this offset or a later one. */
  readonly expected: number;
  readonly open: OpenDamage | undefined;
}

/** Why no batch of the log stands at the start of these bytes; undefined if one does. */
function faultOf(kernel: Kernel, bytes: Uint8Array, expected: number): string | undefined {
  if (bytes.length < BATCH_HEADER_BYTES) return "BAD_LENGTH";
  const header = readHeader(bytes);
  if (header.sizeBytes < BATCH_HEADER_BYTES || header.sizeBytes > bytes.length) return "BAD_LENGTH";
  const status = kernel.validateBatch(bytes.subarray(0, header.sizeBytes));
  if (status !== Status.OK) return statusName(status);
  return header.baseOffset >= expected && Number.isSafeInteger(nextOffsetOf(header)) ? undefined : "BAD_OFFSET";
}

/** A file of an old broker begins with messages of an earlier format, whose magic stands at the same place. */
function refuseOld(file: string, head: Uint8Array): void {
  const magic = head[MAGIC_AT];
  if (magic === undefined || magic >= MAGIC) return;
  throw new TidemarkError("UNSUPPORTED_FORMAT", `${file}: message format ${magic}; only format ${MAGIC} can be read`, {
    file,
    position: 0,
  });
}

function refuseUnreadable(file: string, position: number, header: BatchHeader, batchBytesMax: number): void {
  const at = `${file}, byte ${position}`;
  const details = { file, position };
  const codec = header.attributes & CODEC_MASK;
  if (codec > CODEC_GZIP)
    throw new TidemarkError("UNSUPPORTED_FORMAT", `${at}: compressed by ${codecName(codec)}; only gzip can be read`, {
      ...details,
      codec: codecName(codec),
    });
  if ((header.attributes & ATTRIBUTE_TRANSACTIONAL) !== 0)
    throw new TidemarkError(
      "UNSUPPORTED_FORMAT",
      `${at}: a batch of a transaction: only a broker knows whether it was aborted. Export committed records instead`,
      { ...details, transactional: true },
    );
  if (header.sizeBytes > batchBytesMax)
    throw new TidemarkError("BATCH_TOO_LARGE", `${at}: a batch of ${header.sizeBytes} bytes`, {
      ...details,
      bytes: header.sizeBytes,
      batchBytesMax,
    });
}

/** The error for damage that is not to be skipped. */
export const damageError = (found: ImportDamage): TidemarkError =>
  new TidemarkError(
    "INVALID_BATCH",
    `${found.file} is damaged at byte ${found.position} (${found.reason}), offset ${found.from}: nothing was ` +
      `taken; { damage: "skip" } takes what is whole`,
    { ...found },
  );

const zerosIn = (bytes: Uint8Array): number => {
  const end = bytes.findIndex((byte) => byte !== 0);
  return end < 0 ? bytes.length : end;
};

/** The first place from here on where a batch or zeros may begin, or the last one whose whole head is here. */
function placeBehind(bytes: Uint8Array, from: number): number {
  const last = bytes.length - BATCH_HEADER_BYTES;
  for (let at = from; at < last; at++) {
    if (bytes[at + MAGIC_AT] === MAGIC) return at;
    if (bytes[at] === 0 && zerosIn(bytes.subarray(at, at + BATCH_HEADER_BYTES)) === BATCH_HEADER_BYTES) return at;
  }
  return Math.max(from, last);
}

export class SegmentScan {
  readonly #kernel: Kernel;
  readonly #bounds: ScanBounds;
  readonly #damaged: (damage: ImportDamage) => void;
  #expected: number;
  #open: OpenDamage | undefined;

  /** `damaged` may throw: then nothing is taken. */
  constructor(kernel: Kernel, bounds: ScanBounds, damaged: (damage: ImportDamage) => void, from?: ScanState) {
    this.#kernel = kernel;
    this.#bounds = bounds;
    this.#damaged = damaged;
    this.#expected = from?.expected ?? 0;
    this.#open = from?.open;
  }

  get state(): ScanState {
    return { expected: this.#expected, open: this.#open };
  }

  /**
   * The piece's batches, in order. Gives back where the next piece begins; pieces must follow each other, and the files
   * too. UNSUPPORTED_FORMAT, BATCH_TOO_LARGE: the files can't be taken.
   */
  *batchesIn({ file, fileBytes, position: begin, bytes }: FilePiece): Generator<ScannedBatch, ScanEnd> {
    for (let at = 0; ;) {
      const position = begin + at;
      const [here, left] = [bytes.length - at, fileBytes - position];
      if (left === 0) return { position, wants: 0 };
      if (here < Math.min(left, BATCH_HEADER_BYTES)) return { position, wants: Math.min(left, WINDOW_BYTES) };
      const head = bytes.subarray(at, at + BATCH_HEADER_BYTES);
      const zeros = zerosIn(head) < head.length ? 0 : zerosIn(bytes.subarray(at, at + WINDOW_BYTES));
      if (zeros === Math.min(left, WINDOW_BYTES)) return { position: fileBytes, wants: 0 };
      if (zeros === here) return { position, wants: Math.min(left, WINDOW_BYTES) };
      // Zeros are a page that was lost, and no message of an older format: such a message has a length.
      if (position === 0 && zeros === 0) refuseOld(file, head);
      const size = head.length < BATCH_HEADER_BYTES ? 0 : readHeader(head).sizeBytes;
      const isInside = size > 0 && size <= left;
      if (isInside && size > here && size <= this.#bounds.pieceBytesMax) return { position, wants: size };
      if (isInside && size > here) this.#refuseLong(file, position, head);
      const whole = isInside && size <= here ? bytes.subarray(at, at + size) : head;
      const reason = faultOf(this.#kernel, whole, this.#expected);
      if (reason === undefined) {
        yield this.#found(file, position, whole);
        at += size;
      } else {
        const next = placeBehind(bytes, at + Math.max(1, zeros - LENGTH_END));
        const open = this.#open ?? { file, position, bytes: 0, reason, from: this.#expected };
        this.#open = { ...open, bytes: open.bytes + next - at };
        at = next;
        // No batch is so large: where the next one begins is not looked for, because nothing is taken anyway.
        if (!this.#bounds.skips && this.#open.bytes > this.#bounds.batchBytesMax) this.#close(undefined);
      }
    }
  }

  #found(file: string, position: number, bytes: Uint8Array): ScannedBatch {
    const header = readHeader(bytes);
    refuseUnreadable(file, position, header, this.#bounds.batchBytesMax);
    this.#close(header.baseOffset);
    this.#expected = nextOffsetOf(header);
    return { file, position, header, bytes };
  }

  /** A batch that no piece can hold: its checksum can't be looked at, but all else of its head is as it should be. */
  #refuseLong(file: string, position: number, head: Uint8Array): void {
    const header = readHeader(head);
    const { magic, baseOffset, recordCount, lastOffsetDelta } = header;
    const isLikely = magic === MAGIC && baseOffset >= this.#expected && recordCount > 0 && lastOffsetDelta >= 0;
    if (isLikely && !this.#open && !this.#bounds.skips)
      refuseUnreadable(file, position, header, this.#bounds.batchBytesMax);
  }

  #close(to: number | undefined): void {
    const open = this.#open;
    this.#open = undefined;
    if (open) this.#damaged({ ...open, to });
  }

  /** All files have been walked. */
  end(): void {
    this.#close(undefined);
  }
}
