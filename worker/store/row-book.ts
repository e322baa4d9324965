/**
 * A book that is kept with the rows of a log: what it notes of a row is written by the very INSERT of the row, and read
 * back with it. The chunk store knows no more of it; worker/stream/outboxes.ts is one.
 *
 *   opening   open(sealed end) ── replay(row) for each row behind it ── opened(end, epoch)
 *   append    notes(row) → the row's column `origins`      seal(offset) → whatever it likes, in the same transaction
 *             done(true) when the transaction is through, done(false) when nothing of it is there
 */
export interface RowOrigins {
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly writtenAt: number;
  readonly origins: Uint8Array | null;
}

export interface RowBook {
  /** The tables are there. Rows behind `sealedTo` follow, one by one. */
  open(sealedTo: number): void;
  replay(row: RowOrigins): void;
  opened(logEndOffset: number, leaderEpoch: number): void;
  /** Writes more than a note with the rows up to here, so they need a transaction. */
  needsTransaction(nextOffset: number): boolean;
  /** What is noted of the row [baseOffset, nextOffset); null for nothing. */
  notes(baseOffset: number, nextOffset: number): Uint8Array | null;
  seal(nextOffset: number): void;
  done(isThrough: boolean): void;
  /** The batch that begins here was counted in this book: its producer is nobody's of the log. */
  hasCounted(baseOffset: number): boolean;
}
