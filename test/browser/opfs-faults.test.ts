/** OPFS volumes when the quota ends, files are locked, half made or lost, and handles are few. */
import { afterEach, describe, expect, it } from "vitest";
import { pattern } from "../contract/volume-contract.ts";
import { clearSiteData, leaveRoom } from "./devtools.ts";
import { type Outcome } from "./volume-worker.ts";
import { ok, volumeWorker } from "./worker-of.ts";

const MIB = 1024 * 1024;
const SLOT = 64 * 1024;
let names = 0;
const fresh = () => `opfs-faults-${Date.now()}-${names++}`;

async function directoryOf(name: string): Promise<FileSystemDirectoryHandle & { keys(): AsyncIterable<string> }> {
  const root = await navigator.storage.getDirectory();
  return (await (await root.getDirectoryHandle("tidemark")).getDirectoryHandle(name)) as FileSystemDirectoryHandle & {
    keys(): AsyncIterable<string>;
  };
}

async function filesOf(name: string): Promise<Record<string, number>> {
  const directory = await directoryOf(name);
  const sizes: Record<string, number> = {};
  for await (const file of directory.keys()) sizes[file] = (await (await directory.getFileHandle(file)).getFile()).size;
  return sizes;
}

afterEach(() => leaveRoom());

describe("OPFS volume at the end of the quota", () => {
  it("addSlots returns how many it made; old slots stay readable and writable; later it has room", async () => {
    const worker = volumeWorker();
    const name = fresh();
    ok(await worker.open("opfs", name, MIB));
    ok(await worker.call("addSlots", 2));
    ok(await worker.call("write", 1, 4096, pattern(100_000, 1)));
    ok(await worker.call("flush", [1]));
    await leaveRoom(5 * MIB + MIB / 2);
    const { error } = (await worker.call("addSlots", 20)) as Outcome<void>;
    expect(error).toMatchObject({ code: "QUOTA_EXCEEDED", details: { made: 5, slots: 7 } });
    expect(await worker.slotCount()).toBe(7);
    expect(Object.values(await filesOf(name)), "no half-made slot is left").toEqual(Array(7).fill(MIB));
    expect(ok(await worker.read(1, 4096, 100_000))).toEqual(pattern(100_000, 1));
    for (let slot = 0; slot < 7; slot++) {
      ok(await worker.call("write", slot, 0, pattern(MIB, slot)));
      ok(await worker.call("flush", [slot]));
    }
    for (let slot = 0; slot < 7; slot++) expect(ok(await worker.read(slot, 0, MIB))).toEqual(pattern(MIB, slot));
    await leaveRoom();
    ok(await worker.call("addSlots", 2));
    ok(await worker.call("close"));
    ok(await worker.open("opfs", name, SLOT));
    expect(await worker.slotCount()).toBe(9);
    expect(ok(await worker.read(6, 0, MIB))).toEqual(pattern(MIB, 6));
    ok(await worker.call("close"));
  });

  it("a slot that a crash left short is grown when there is room, and does not count when there is none", async () => {
    const worker = volumeWorker();
    const name = fresh();
    ok(await worker.open("opfs", name, MIB));
    ok(await worker.call("addSlots", 3));
    ok(await worker.call("write", 2, MIB - 10, pattern(10, 1)));
    ok(await worker.call("flush", [2]));
    ok(await worker.call("close"));
    const directory = await directoryOf(name);
    for (const file of ["slot-0003", "slot-0004"]) await directory.getFileHandle(file, { create: true });
    await leaveRoom(MIB / 2);
    ok(await worker.open("opfs", name, MIB));
    expect(await worker.slotCount()).toBe(3);
    expect(ok(await worker.read(2, MIB - 10, 10))).toEqual(pattern(10, 1));
    ok(await worker.call("close"));
    await leaveRoom();
    ok(await worker.open("opfs", name, MIB));
    expect(await worker.slotCount()).toBe(5);
    for (const slot of [4, 3]) {
      expect(ok(await worker.read(slot, 0, MIB))).toEqual(new Uint8Array(MIB));
      ok(await worker.call("write", slot, MIB - 10, pattern(10, slot)));
    }
    ok(await worker.call("close"));
    expect(Object.values(await filesOf(name))).toEqual(Array(5).fill(MIB));
  });
});

describe("OPFS volume and its files", () => {
  it("a first addSlots that set no size leaves a new volume; a lost name comes back as zeros", async () => {
    const worker = volumeWorker();
    const name = fresh();
    ok(await worker.open("opfs", name, SLOT));
    const directory = await directoryOf(name);
    for (const file of ["slot-0000", "slot-0001", "unknown.txt"]) await directory.getFileHandle(file, { create: true });
    ok(await worker.call("close"));
    ok(await worker.open("opfs", name, SLOT));
    expect(await worker.slotCount()).toBe(2);
    ok(await worker.call("addSlots", 2));
    for (let slot = 0; slot < 4; slot++) ok(await worker.call("write", slot, 0, pattern(SLOT, slot)));
    ok(await worker.call("close"));
    await directory.removeEntry("slot-0002");
    ok(await worker.open("opfs", name, SLOT));
    expect(await worker.slotCount()).toBe(4);
    expect(ok(await worker.read(2, 0, SLOT))).toEqual(new Uint8Array(SLOT));
    expect(ok(await worker.read(3, 0, SLOT))).toEqual(pattern(SLOT, 3));
    ok(await worker.call("close"));
  });

  it("is ALREADY_OPEN for a second worker, after about a second, and waits for a lock that comes free", async () => {
    const [first, second] = [volumeWorker(), volumeWorker()];
    const name = fresh();
    ok(await first.open("opfs", name, SLOT));
    ok(await first.call("addSlots", 1));
    const started = performance.now();
    expect((await second.open("opfs", name, SLOT)).error?.code).toBe("ALREADY_OPEN");
    expect(performance.now() - started).toBeGreaterThan(500);
    const waiting = second.open("opfs", name, SLOT);
    ok(await first.call("close"));
    ok(await waiting);
    expect((await first.open("opfs", name, SLOT)).error?.code, "now it is the second's").toBe("ALREADY_OPEN");
    ok(await second.call("close"));
  });

  it("keeps no more handles open than allowed, and no un-flushed write is lost by that", async () => {
    const worker = volumeWorker();
    const name = fresh();
    ok(await worker.open("opfs", name, SLOT, 3));
    ok(await worker.call("addSlots", 12));
    const order = [0, 5, 11, 5, 2, 7, 1, 0, 3, 4, 6, 8, 9, 10, 5];
    for (const [i, slot] of order.entries()) ok(await worker.call("write", slot, i, pattern(5000, i)));
    await Promise.all(order.map((slot) => worker.read(slot, 0, 100)));
    ok(await worker.call("flush", order));
    for (const slot of order) {
      const i = order.lastIndexOf(slot);
      expect(ok(await worker.read(slot, i, 5000)), `slot ${slot}`).toEqual(pattern(5000, i));
    }
    expect(await worker.handles()).toEqual({ open: 3, most: 3 });
    ok(await worker.call("close"));
    expect((await worker.handles()).open).toBe(0);
  });

  it("knows when its files are gone although writing goes on", async () => {
    // Its handles can't be closed any more; they go with the worker.
    const worker = volumeWorker();
    const name = fresh();
    ok(await worker.open("opfs", name, SLOT));
    expect(ok(await worker.call("checkAttached")), "nothing to lose yet").toBe(true);
    ok(await worker.call("addSlots", 3));
    expect(ok(await worker.call("checkAttached"))).toBe(true);
    await clearSiteData();
    expect(await worker.call("write", 0, 0, pattern(10, 1)), "as if nothing had happened").toEqual({
      value: undefined,
    });
    expect(ok(await worker.call("checkAttached"))).toBe(false);
  });
});
