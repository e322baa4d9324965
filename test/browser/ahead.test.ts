/**
 * Files of a volume in OPFS that a worker opens before the volume asks for them: at the right time, once, and never for
 * good.
 */
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

/** As of a tide outside a commit. */
const contentOf = (slot: number): Uint8Array => pattern(SLOT, Math.max(slot, 1));

interface Wish {
  /** It has let go of its files before the other one opens any, though it has not ended. */
  readonly closed?: boolean;
  /** Files are opened beside it. */
  readonly beside?: boolean;
  /** Nobody has the lead yet. */
  readonly stands?: boolean;
}

/**
 * A leader, with a volume of some slots, of which the first two are equal, and its life lock; and a worker that stands
 * by.
 */
async function leaderAndNext(slots: number, { closed = false, beside = false, stands = false }: Wish = {}) {
  const [leader, next] = [volumeWorker(), volumeWorker()];
  const name = fresh();
  ok(await leader.open("opfs", name, SLOT));
  ok(await leader.call("addSlots", slots));
  for (let slot = 0; slot < slots; slot++) ok(await leader.call("write", slot, 0, contentOf(slot)));
  let end!: () => void;
  await new Promise<void>((held) => {
    void navigator.locks.request(name, () => {
      held();
      return new Promise<void>((resolve) => (end = resolve));
    });
  });
  await next.standBy(name);
  if (beside) await next.beside();
  if (closed) ok(await leader.call("close"));
  if (!stands) await next.prepare(name);
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
    for (let slot = 0; slot < 6; slot++) expect(ok(await next.read(slot, 0, SLOT))).toEqual(contentOf(slot));
    ok(await next.call("close"));
    expect(await next.handles()).toEqual({ open: 0, most: 6 });
    ok(await leader.open("opfs", name, SLOT));
    ok(await leader.call("close"));
  });

  it("a leader that has let go of its files need not have ended", async () => {
    const { next, name, end } = await leaderAndNext(4, { closed: true });
    ok(await next.open("ahead", name, SLOT));
    for (let slot = 0; slot < 4; slot++) expect(ok(await next.read(slot, 0, SLOT))).toEqual(contentOf(slot));
    ok(await next.call("close"));
    expect((await next.handles()).open).toBe(0);
    end();
  });

  it("some are open beside the leader, and are those that the volume uses; slot 0 is not", async () => {
    const { leader, next, name, end } = await leaderAndNext(6, { beside: true });
    expect(await next.handles(), "slot 1, and the last").toEqual({ open: 2, most: 2 });
    ok(await leader.call("write", 5, 0, pattern(SLOT, 77)));
    ok(await leader.call("close"));
    end();
    await navigator.locks.request(name, () => undefined);
    ok(await next.open("ahead", name, SLOT));
    for (let slot = 0; slot < 5; slot++) expect(ok(await next.read(slot, 0, SLOT))).toEqual(contentOf(slot));
    expect(ok(await next.read(5, 0, SLOT)), "as it was written last").toEqual(pattern(SLOT, 77));
    expect(await next.handles(), "none twice").toEqual({ open: 6, most: 6 });
    ok(await next.call("close"));
    expect((await next.handles()).open).toBe(0);
  });

  it("a commit that was cut off: what was open beside the leader does not count", async () => {
    const { leader, next, name, end } = await leaderAndNext(3, { beside: true });
    ok(await leader.call("write", 0, 0, pattern(SLOT, 99)));
    ok(await leader.call("close"));
    end();
    await navigator.locks.request(name, () => undefined);
    ok(await next.open("ahead", name, SLOT));
    expect(ok(await next.read(0, 0, SLOT))).toEqual(pattern(SLOT, 99));
    for (const slot of [1, 2]) expect(ok(await next.read(slot, 0, SLOT))).toEqual(contentOf(slot));
    expect((await next.handles()).most, "three, and the two of before").toBe(5);
  });

  it("what was open beside a leader can be let go of", async () => {
    const { leader, next, name } = await leaderAndNext(3, { beside: true });
    await next.release();
    expect((await next.handles()).open).toBe(0);
    ok(await leader.call("close"));
    await (
      await (await navigator.storage.getDirectory()).getDirectoryHandle("tidemark")
    ).removeEntry(name, { recursive: true });
  });

  it("copies of locked files: all are let go of before the volume looks for them", async () => {
    const { next, name, end } = await leaderAndNext(3, { closed: true, beside: true, stands: true });
    await (await directoryOf(name)).getDirectoryHandle("taken", { create: true });
    await next.prepare(name);
    end();
    await navigator.locks.request(name, () => undefined);
    ok(await next.open("ahead", name, SLOT));
    await expect(
      (await directoryOf(name)).getDirectoryHandle("taken"),
      "brought back, for no file was locked",
    ).rejects.toThrow();
    expect(ok(await next.read(2, 0, SLOT))).toEqual(pattern(SLOT, 2));
    ok(await next.call("close"));
    expect((await next.handles()).open).toBe(0);
  });

  it("a tide that is gone is not made anew by the look ahead", async () => {
    const { next, name, end } = await leaderAndNext(3, { closed: true, stands: true });
    await (
      await (await navigator.storage.getDirectory()).getDirectoryHandle("tidemark")
    ).removeEntry(name, { recursive: true });
    end();
    await next.prepare(name);
    await expect(next.open("ahead", name, SLOT)).rejects.toThrow();
    await expect(directoryOf(name)).rejects.toThrow();
  });
});
