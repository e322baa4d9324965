/**
 * A row-book keeps notes with the rows of a log: a note is written by the same INSERT as its row, and read back with
 * it. The chunk store does not interpret the notes. worker/stream/outboxes.ts is such a book.
 *
 *   opening   open(sealed end) ── replay(row) for each row behind it ── opened(end, epoch)
 *   append    notes(row) → the row's column `origins`      seal(offset) → anything, in the same transaction
 *             done(true) after the transaction, done(false) if it was undone
 */
export interface RowOrigins {
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly writtenAt: number;
  readonly origins: Uint8Array | null;
}

export interface RowBook {
  /** The tables exist. The rows behind `sealedTo` follow, one by one. */
  open(sealedTo: number): void;
  replay(row: RowOrigins): void;
  opened(logEndOffset: number, leaderEpoch: number): void;
  /** True if it must write more than a note with the rows up to here, so that they need a transaction. */
  needsTransaction(nextOffset: number): boolean;
  /** The note for the row [baseOffset, nextOffset); null for none. */
  notes(baseOffset: number, nextOffset: number): Uint8Array | null;
  seal(nextOffset: number): void;
  done(isThrough: boolean): void;
  /** True if this book counted the batch that begins here. The log then keeps no entry for its producer. */
  hasCounted(baseOffset: number): boolean;
}
