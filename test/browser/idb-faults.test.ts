/** IndexedDB volumes when the connection is lost, the quota ends, or the data goes away. */
import { afterEach, describe, expect, it } from "vitest";
import { IdbVolume } from "../../src/browser/volume/idb-volume.ts";
import { pattern } from "../contract/volume-contract.ts";
import { clearSiteData, leaveRoom, leaveRoomAnew } from "./devtools.ts";
import { ok, volumeWorker } from "./worker-of.ts";

const MIB = 1024 * 1024;
const SLOT = 256 * 1024;
/** More than clearing takes. */
const HANG_MS = 2_000;
let names = 0;
const fresh = () => `idb-faults-${Date.now()}-${names++}`;
const worker = volumeWorker();
const random = (length: number) => {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
};

async function opened(slots: number, slotBytes = SLOT): Promise<string> {
  const name = fresh();
  ok(await worker.open("indexeddb", name, slotBytes));
  ok(await worker.call("addSlots", slots));
  return name;
}

afterEach(() => leaveRoom());

describe("IndexedDB volume at the end of the quota", () => {
  it("refuses a flush whole, with a typed error; staged bytes stay readable and go in when there is room", async () => {
    await leaveRoomAnew(6 * MIB);
    const name = await opened(64, MIB);
    const kept: Uint8Array[] = [];
    let refused: Uint8Array | undefined;
    while (!refused && kept.length < 64) {
      const bytes = random(MIB);
      ok(await worker.call("write", kept.length, 0, bytes));
      const { error } = await worker.call("flush", [kept.length]);
      if (!error) kept.push(bytes);
      else {
        expect(error.code).toBe("QUOTA_EXCEEDED");
        refused = bytes;
      }
    }
    expect(kept.length, "flushes before the refusal").toBeGreaterThan(1);
    expect(refused, `${kept.length} flushes without a refusal`).toBeDefined();
    const last = kept.length;
    ok(await worker.call("write", 0, 10, random(100)));
    expect(ok(await worker.read(last, 0, MIB)), "staged").toEqual(refused);
    ok(await worker.call("close"));
    ok(await worker.open("indexeddb", name, MIB));
    for (const [slot, bytes] of kept.entries())
      expect(ok(await worker.read(slot, 0, MIB)), `slot ${slot}`).toEqual(bytes);
    expect(ok(await worker.read(last, 0, MIB)), "a refused transaction changed nothing").toEqual(new Uint8Array(MIB));
    // The database may have tidied itself up meanwhile, and hold a little more.
    let slot = last - 1;
    let code: string | undefined;
    while (code === undefined && slot < 63) {
      ok(await worker.call("write", ++slot, 0, refused!));
      code = (await worker.call("flush", [slot])).error?.code;
    }
    expect(code).toBe("QUOTA_EXCEEDED");
    await leaveRoom();
    ok(await worker.call("flush", [slot]));
    ok(await worker.call("close"));
    ok(await worker.open("indexeddb", name, MIB));
    expect(ok(await worker.read(slot, 0, MIB))).toEqual(refused);
    ok(await worker.call("close"));
  });
});

describe("IndexedDB volume whose connection is lost", () => {
  for (const how of ["silently", "close event"] as const) {
    it(`${how}: opens again and repeats the transaction; no staged or handed-over write is missing`, async () => {
      const name = await opened(4);
      ok(await worker.call("close"));
      ok(await worker.open("indexeddb", name, SLOT));
      const lose = async () => expect(await worker.loseConnections(how)).toBe(1);
      await lose();
      ok(await worker.call("write", 0, 0, pattern(100_000, 1)));
      ok(await worker.call("handOver", [0]));
      await lose();
      ok(await worker.call("write", 1, 50_000, pattern(100_000, 2)));
      await lose();
      ok(await worker.call("flush", [0, 1]));
      await lose();
      expect(ok(await worker.read(2, 0, SLOT)), "a read").toEqual(new Uint8Array(SLOT));
      await lose();
      ok(await worker.call("addSlots", 1));
      await lose();
      ok(await worker.call("write", 3, SLOT - 5, pattern(5, 3)));
      await lose();
      ok(await worker.call("handOver", [3]));
      await lose();
      ok(await worker.call("flush", [3]));
      ok(await worker.call("close"));
      ok(await worker.open("indexeddb", name, SLOT));
      expect(await worker.slotCount()).toBe(5);
      expect(ok(await worker.read(0, 0, 100_000))).toEqual(pattern(100_000, 1));
      expect(ok(await worker.read(1, 50_000, 100_000))).toEqual(pattern(100_000, 2));
      expect(ok(await worker.read(3, SLOT - 5, 5))).toEqual(pattern(5, 3));
      ok(await worker.call("close"));
    });
  }

  it("what was handed over before the loss is put again by the next flush", async () => {
    const name = await opened(1);
    ok(await worker.call("write", 0, 0, pattern(1000, 1)));
    ok(await worker.call("handOver", [0]));
    // The disk forgot it, as one may that is cut off before the strict commit: pages are deleted behind the volume's
    // back.
    await worker.deletePages(name);
    expect(await worker.loseConnections("silently")).toBeGreaterThan(0);
    expect(ok(await worker.call("checkAttached")), "opens it again").toBe(true);
    ok(await worker.call("flush", [0]));
    ok(await worker.call("close"));
    ok(await worker.open("indexeddb", name, SLOT));
    expect(ok(await worker.read(0, 0, 1000))).toEqual(pattern(1000, 1));
    ok(await worker.call("close"));
  });
});

describe("IndexedDB volume of a leader that was deposed", () => {
  it("writes nothing more: its open writes end in FENCED_LEADER, and its successor is not disturbed", async () => {
    const name = await opened(4);
    ok(await worker.call("write", 2, 0, pattern(5000, 1)));
    ok(await worker.call("flush", [2]));
    // It was about to commit these, and hung.
    ok(await worker.call("write", 2, 0, pattern(9000, 2)));
    const successor = volumeWorker();
    ok(await successor.open("indexeddb", name, SLOT));
    ok(await successor.call("write", 2, 4000, pattern(3000, 3)));
    ok(await successor.call("flush", [2]));
    for (const late of ["flush", "handOver", "flush"] as const)
      expect((await worker.call(late, [2])).error?.code).toBe("FENCED_LEADER");
    expect((await worker.call("addSlots", 1)).error?.code).toBe("FENCED_LEADER");
    ok(await successor.call("write", 3, 0, pattern(100, 4)));
    ok(await successor.call("flush", [3]));
    ok(await successor.call("close"));
    ok(await successor.open("indexeddb", name, SLOT));
    expect(await successor.slotCount()).toBe(4);
    expect(ok(await successor.read(2, 0, 7000))).toEqual(
      Uint8Array.from([...pattern(5000, 1).subarray(0, 4000), ...pattern(3000, 3)]),
    );
    ok(await successor.call("close"));
    await worker.call("close");
  });
});

describe("IndexedDB volume that was opened", () => {
  it("belongs to its opener before the first read or write: an older opener's writes can't come between", async () => {
    const name = await opened(2);
    ok(await worker.call("write", 0, 0, pattern(100, 1)));
    const successor = volumeWorker();
    ok(await successor.open("indexeddb", name, SLOT));
    expect((await worker.call("flush", [0])).error?.code).toBe("FENCED_LEADER");
    expect(ok(await successor.read(0, 0, 100))).toEqual(new Uint8Array(100));
    const third = volumeWorker();
    ok(await third.open("indexeddb", name, SLOT));
    ok(await successor.call("write", 0, 0, pattern(100, 2)));
    expect((await successor.call("flush", [0])).error?.code, "that has never written").toBe("FENCED_LEADER");
    ok(await third.call("write", 1, 0, pattern(100, 3)));
    ok(await third.call("flush", [1]));
    ok(await third.call("close"));
    await successor.call("close");
    await worker.call("close");
  });
});

describe("IndexedDB volume whose data is gone", () => {
  it("site data cleared: a typed error, never an empty database in its place", async () => {
    const name = await opened(2);
    ok(await worker.call("write", 0, 0, pattern(1000, 1)));
    ok(await worker.call("flush", [0]));
    expect(ok(await worker.call("checkAttached"))).toBe(true);
    await clearSiteData();
    ok(await worker.call("write", 0, 500, pattern(1000, 2)));
    expect((await worker.call("flush", [0])).error).toMatchObject({ code: "STORAGE_FAILED", details: { gone: true } });
    expect(ok(await worker.call("checkAttached"))).toBe(false);
    expect((await worker.call("flush", [0])).error?.code).toBe("STORAGE_FAILED");
    expect((await indexedDB.databases()).map((database) => database.name)).not.toContain(`tidemark:${name}`);
    ok(await worker.call("close"));
  });

  it("a transaction that begins before its worker has heard of the loss ends with the same error", async () => {
    const name = await opened(2);
    ok(await worker.call("write", 0, 0, pattern(1000, 1)));
    const flushed = worker.flushAfterHanging(HANG_MS);
    await clearSiteData("indexeddb");
    expect((await flushed).error).toMatchObject({ code: "STORAGE_FAILED", details: { gone: true } });
    expect((await indexedDB.databases()).map((database) => database.name)).not.toContain(`tidemark:${name}`);
    ok(await worker.call("close"));
  });

  it("a deletion does not wait for the volume; a new database of the name is not taken for it", async () => {
    const name = await opened(2);
    ok(await worker.call("write", 0, 0, pattern(1000, 1)));
    ok(await worker.call("flush", [0]));
    await new Promise<void>((resolve, reject) => {
      const request = indexedDB.deleteDatabase(`tidemark:${name}`);
      request.onsuccess = () => resolve();
      request.onblocked = () => reject(new Error("blocked"));
    });
    const other = volumeWorker();
    ok(await other.open("indexeddb", name, SLOT));
    ok(await other.call("addSlots", 2));
    ok(await worker.call("write", 0, 0, pattern(1000, 2)));
    expect((await worker.call("flush", [0])).error).toMatchObject({ details: { gone: true } });
    expect(ok(await other.read(0, 0, 1000))).toEqual(new Uint8Array(1000));
    ok(await other.call("close"));
    ok(await worker.call("close"));
  });
});

describe("IndexedDB volume that another worker still has as it is opened", () => {
  it("counts the slots that the other makes until the new term begins, and what is in them", async () => {
    const name = fresh();
    const before = await IdbVolume.open({ name, slotBytes: SLOT });
    await before.addSlots(2);
    const { get } = IDBObjectStore.prototype;
    let made: Promise<void> | undefined;
    // The new worker knows the slots by then, and asks for the last term.
    IDBObjectStore.prototype.get = function (this: IDBObjectStore, key: IDBValidKey) {
      if (key === "term")
        made ??= before.addSlots(1).then(async () => {
          await before.write(2, 0, pattern(100, 1));
          await before.flush();
        });
      return get.call(this, key);
    };
    try {
      const after = await IdbVolume.open({ name, slotBytes: SLOT });
      const written = await made!.then(
        () => pattern(100, 1),
        () => new Uint8Array(100),
      );
      expect(after.slotCount).toBe(3);
      const bytes = new Uint8Array(100);
      await after.read(2, 0, bytes);
      expect(bytes).toEqual(written);
      await after.close();
    } finally {
      IDBObjectStore.prototype.get = get;
      await before.close();
    }
  });
});
