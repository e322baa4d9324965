/** Files of a volume in OPFS that a worker opens before the volume asks for them: at the right time, once, and never for good. */
import { describe, expect, it } from "vitest";
import { pattern } from "../contract/volume-contract.ts";
import { ok, volumeWorker } from "./worker-of.ts";

const SLOT = 64 * 1024;
let names = 0;
const fresh = () => `ahead-${Date.now()}-${names++}`;

async function directoryOf(name: string): Promise<FileSystemDirectoryHandle> {
  const root = await navigator.storage.getDirectory();
  return (await root.getDirectoryHandle("tidemark")).getDirectoryHandle(name);
}

/** A leader, with a volume of some slots, and its life lock; and a worker that stands by. */
async function leaderAndNext(slots: number) {
  const [leader, next] = [volumeWorker(), volumeWorker()];
  const name = fresh();
  ok(await leader.open("opfs", name, SLOT));
  ok(await leader.call("addSlots", slots));
  for (let slot = 0; slot < slots; slot++) ok(await leader.call("write", slot, 0, pattern(SLOT, slot)));
  let end!: () => void;
  await new Promise<void>((held) => {
    void navigator.locks.request(name, () => {
      held();
      return new Promise<void>((resolve) => (end = resolve));
    });
  });
  await next.standBy(name);
  await next.prepare(name);
  return { leader, next, name, end };
}

describe("files opened ahead", () => {
  it("not before the last worker is gone; then the volume finds them, and closes all of them", async () => {
    const { leader, next, name, end } = await leaderAndNext(6);
    expect((await next.handles()).open).toBe(0);
    ok(await leader.call("close"));
    end();
    // Behind the worker that stands by, which waited first.
    await navigator.locks.request(name, () => undefined);
    ok(await next.open("ahead", name, SLOT));
    expect(await next.slotCount()).toBe(6);
    for (let slot = 0; slot < 6; slot++) expect(ok(await next.read(slot, 0, SLOT))).toEqual(pattern(SLOT, slot));
    ok(await next.call("close"));
    expect(await next.handles()).toEqual({ open: 0, most: 6 });
    ok(await leader.open("opfs", name, SLOT));
    ok(await leader.call("close"));
  });

  it("a volume that is opened before finds its files itself, and nothing is in its way", async () => {
    const { leader, next, name, end } = await leaderAndNext(4);
    ok(await leader.call("close"));
    ok(await next.open("ahead", name, SLOT));
    end();
    await navigator.locks.request(name, () => undefined);
    for (let slot = 0; slot < 4; slot++) expect(ok(await next.read(slot, 0, SLOT))).toEqual(pattern(SLOT, slot));
    ok(await next.call("close"));
    expect((await next.handles()).open).toBe(0);
  });

  it("copies of locked files: all are let go of before the volume looks for them", async () => {
    const { leader, next, name, end } = await leaderAndNext(3);
    ok(await leader.call("close"));
    await (await directoryOf(name)).getDirectoryHandle("taken", { create: true });
    end();
    await navigator.locks.request(name, () => undefined);
    ok(await next.open("ahead", name, SLOT));
    await expect((await directoryOf(name)).getDirectoryHandle("taken"), "brought back, for no file was locked").rejects.toThrow();
    expect(ok(await next.read(2, 0, SLOT))).toEqual(pattern(SLOT, 2));
    ok(await next.call("close"));
    expect((await next.handles()).open).toBe(0);
  });

  it("a tide that is gone is not made anew by the look ahead", async () => {
    const { leader, next, name, end } = await leaderAndNext(3);
    ok(await leader.call("close"));
    await (await (await navigator.storage.getDirectory()).getDirectoryHandle("tidemark")).removeEntry(name, { recursive: true });
    end();
    await navigator.locks.request(name, () => undefined);
    await expect(next.open("ahead", name, SLOT)).rejects.toThrow();
    await expect(directoryOf(name)).rejects.toThrow();
  });
});
