/**
 * Dexie in a worker: bulk loads, and reading by chunks of its primary key, the fastest of its ways to read everything.
 */
import Dexie from "dexie";
import { serve } from "./serve.js";

let db;

serve({
  async open(name) {
    await Dexie.delete(name);
    db = new Dexie(name, { chromeTransactionDurability: "strict" });
    db.version(1).stores({ log: "++id" });
    await db.open();
  },
  async append(packed, count, ts) {
    const size = packed.length / count;
    await db.log.bulkAdd(
      Array.from({ length: count }, (_, i) => ({ ts: ts + i, value: packed.slice(i * size, (i + 1) * size) })),
    );
  },
  async replay() {
    let rows = 0;
    let sum = 0;
    for (let after = 0; ;) {
      const chunk = await db.log.where("id").above(after).limit(5000).toArray();
      if (chunk.length === 0) return { rows, sum };
      for (const { id, value } of chunk) sum += id + value[0];
      rows += chunk.length;
      after = chunk.at(-1).id;
    }
  },
  async close() {
    await db.delete();
  },
});
