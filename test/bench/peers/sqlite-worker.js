/**
 * SQLite's own build over its OPFS pool VFS, in its own worker: prepared statements, one transaction per message,
 * synchronous FULL.
 */
import sqlite3InitModule from "@sqlite.org/sqlite-wasm";
import { serve } from "./serve.js";

let db;
let insert;
let pool;

serve({
  async open(name) {
    if (!pool) {
      const sqlite3 = await sqlite3InitModule();
      pool = await sqlite3.installOpfsSAHPoolVfs({ name: "bench" });
    }
    db = new pool.OpfsSAHPoolDb(`/${name}`);
    db.exec(
      "PRAGMA synchronous=FULL; DROP TABLE IF EXISTS log; CREATE TABLE log (id INTEGER PRIMARY KEY, ts INTEGER NOT " +
        "NULL, value BLOB NOT NULL)",
    );
    insert = db.prepare("INSERT INTO log (ts, value) VALUES (?, ?)");
  },
  /** `count` values of the same length, packed. */
  append(packed, count, ts) {
    const size = packed.length / count;
    db.exec("BEGIN");
    for (let i = 0; i < count; i++) {
      insert.bind(1, ts + i);
      insert.bind(2, packed.subarray(i * size, (i + 1) * size));
      insert.stepReset();
    }
    db.exec("COMMIT");
  },
  /** Rows are touched where they are read: nothing crosses to the page, which favours SQLite. */
  replay() {
    const select = db.prepare("SELECT id, ts, value FROM log ORDER BY id");
    let rows = 0;
    let sum = 0;
    while (select.step()) {
      sum += select.getInt(0) + select.get(2)[0];
      rows++;
    }
    select.finalize();
    return { rows, sum };
  },
  close(name) {
    insert.finalize();
    db.close();
    pool.unlink(`/${name}`);
  },
});
