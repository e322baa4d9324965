/** Bare IndexedDB through idb: one packed buffer per strict transaction, as a careful application would. */
import { deleteDB, openDB } from "idb";
import { serve } from "./serve.js";

let db;

serve({
  async open(name) {
    await deleteDB(name);
    db = await openDB(name, 1, { upgrade: (made) => void made.createObjectStore("log", { autoIncrement: true }) });
  },
  async append(packed) {
    const transaction = db.transaction("log", "readwrite", { durability: "strict" });
    void transaction.store.add(packed);
    await transaction.done;
  },
  async close(name) {
    db.close();
    await deleteDB(name);
  },
});
