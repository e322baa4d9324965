/** The table of outboxes (outbox-tables.ts). It is created with the other tables of a log. */

export const OUTBOX_SCHEMA = `CREATE TABLE IF NOT EXISTS outbox(id TEXT PRIMARY KEY, since INTEGER NOT NULL,
  generation INTEGER NOT NULL, term INTEGER NOT NULL, next INTEGER NOT NULL, last_offset INTEGER NOT NULL,
  last_crc INTEGER NOT NULL, owner TEXT NOT NULL, seen_at INTEGER NOT NULL) STRICT, WITHOUT ROWID`;
