/**
 * What every volume must do. Cases are plain functions, so that a host can run them where its storage is: in Node
 * (test/unit/volume.test.ts) or in a browser's worker (test/browser).
 */
import { readExactly, type Volume } from "../../src/store/volume.ts";
import { check, equal, fails, turn } from "./check.ts";

export interface VolumeHost {
  /** A new volume without slots. */
  newVolume(slotBytes: number): Promise<Volume>;
  /** Opens the same storage again, after volume.close(). `slotBytes` is the size that the opener asks for. */
  reopen(volume: Volume, slotBytes?: number): Promise<Volume>;
  /** True if bytes that were written but not handed over survive close(). */
  readonly keepsUnflushed: boolean;
}

export interface VolumeCase {
  readonly name: string;
  run(host: VolumeHost): Promise<void>;
}

const SLOT = 64 * 1024;
/** More slots than any volume keeps open at a time. */
const MANY_SLOTS = 260;

/** Bytes that differ at every position and for every seed. */
export const pattern = (length: number, seed: number): Uint8Array =>
  new Uint8Array(length).map((_, i) => (i * 31 + (i >> 8) * 17 + seed * 101 + 1) & 0xff);

const withSlots = async (host: VolumeHost, count: number, slotBytes = SLOT): Promise<Volume> => {
  const volume = await host.newVolume(slotBytes);
  await volume.addSlots(count);
  return volume;
};

/** A small random generator of numbers in [0, below). The same seed gives the same numbers. */
function dice(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

export const volumeCases: readonly VolumeCase[] = [
  {
    name: "a new volume has no slots; added ones are zero and whole",
    async run(host) {
      const volume = await host.newVolume(SLOT);
      equal([volume.slotCount, volume.slotBytes], [0, SLOT]);
      await fails("INTERNAL", () => volume.read(0, 0, new Uint8Array(1)));
      await volume.addSlots(2);
      await volume.addSlots(1);
      equal(volume.slotCount, 3);
      for (let slot = 0; slot < 3; slot++) {
        const target = new Uint8Array(SLOT).fill(7);
        equal(await volume.read(slot, 0, target), SLOT);
        equal(target, new Uint8Array(SLOT), `slot ${slot}`);
      }
      await volume.close();
    },
  },
  {
    name: "bytes are read back at once, and the buffer may be reused after the write",
    async run(host) {
      const volume = await withSlots(host, 3);
      const buffer = pattern(10_000, 1);
      await volume.write(2, 4096, buffer);
      buffer.fill(0);
      equal(await readExactly(volume, 2, 4096, 10_000), pattern(10_000, 1));
      equal(await readExactly(volume, 2, 0, 4096), new Uint8Array(4096), "before");
      equal(await readExactly(volume, 2, 14_096, 5000), new Uint8Array(5000), "behind");
      equal(await readExactly(volume, 1, 4096, 100), new Uint8Array(100), "other slot");
      await volume.close();
    },
  },
  {
    name: "making ready for a write changes nothing, and what is open is where it was",
    async run(host) {
      let volume = await withSlots(host, 2);
      await volume.write(1, 4096, pattern(5000, 3));
      await volume.flush([1]);
      for (const slot of [0, 1]) await volume.prepare(slot);
      equal(await readExactly(volume, 0, 0, SLOT), new Uint8Array(SLOT), "a slot that was never written");
      equal(await readExactly(volume, 1, 4096, 5000), pattern(5000, 3), "one that was");
      await fails("INTERNAL", () => volume.prepare(2));
      check(await volume.checkAttached(), "it is there");
      await volume.close();
      volume = await host.reopen(volume);
      await volume.prepare(1);
      equal(await readExactly(volume, 1, 4096, 5000), pattern(5000, 3), "opened anew");
      await volume.close();
    },
  },
  {
    name: "a view into a larger buffer is written and read as the view",
    async run(host) {
      const volume = await withSlots(host, 1);
      const source = pattern(3000, 2);
      await volume.write(0, 77, source.subarray(1000, 2000));
      const target = new Uint8Array(3000).fill(9);
      equal(await volume.read(0, 77, target.subarray(500, 1500)), 1000);
      equal(target.subarray(500, 1500), source.subarray(1000, 2000));
      check(target[499] === 9 && target[1500] === 9, "nothing around it");
      await volume.close();
    },
  },
  {
    name: "overlapping writes: the later wins, bytes around stay",
    async run(host) {
      const volume = await withSlots(host, 1);
      const model = new Uint8Array(SLOT);
      for (const [at, length, seed] of [
        [0, 30_000, 1],
        [4000, 200, 2],
        [4095, 2, 3],
        [20_479, 16_500, 4],
        [36_863, 3, 5],
        [10, 60_000, 6],
        [500, 1, 7],
      ] as const) {
        const bytes = pattern(length, seed);
        model.set(bytes, at);
        await volume.write(0, at, bytes);
        equal(await readExactly(volume, 0, 0, SLOT), model, `after the write at ${at}`);
        if (seed % 2) await volume.flush([0]);
      }
      await volume.close();
    },
  },
  {
    name: "reads are short only at the slot's end",
    async run(host) {
      const volume = await withSlots(host, 2);
      await volume.write(0, SLOT - 100, pattern(100, 3));
      await volume.write(1, 0, pattern(100, 4));
      const target = new Uint8Array(500);
      equal(await volume.read(0, SLOT - 100, target), 100);
      equal(target.subarray(0, 100), pattern(100, 3));
      equal(target.subarray(100), new Uint8Array(400), "the next slot's bytes don't follow");
      equal(await volume.read(0, SLOT, target), 0);
      await fails("STORAGE_FAILED", readExactly(volume, 0, SLOT - 100, 101));
      await volume.close();
    },
  },
  {
    name: "outside the volume is an error and changes nothing",
    async run(host) {
      const volume = await withSlots(host, 1);
      const byte = new Uint8Array([5]);
      for (const [slot, at] of [
        [0, SLOT],
        [0, -1],
        [1, 0],
        [-1, 0],
      ] as const) {
        await fails("INTERNAL", () => volume.write(slot, at, byte));
      }
      await fails("INTERNAL", () => volume.write(0, SLOT - 1, new Uint8Array(2)));
      await fails("INTERNAL", () => volume.read(1, 0, byte));
      equal(await readExactly(volume, 0, 0, SLOT), new Uint8Array(SLOT));
      await volume.close();
    },
  },
  {
    name: "flushed bytes outlive the volume object",
    async run(host) {
      let volume = await withSlots(host, 3);
      for (let slot = 0; slot < 3; slot++) await volume.write(slot, slot * 5000, pattern(20_000, slot));
      await volume.flush([0, 1, 2]);
      await volume.close();
      volume = await host.reopen(volume);
      equal([volume.slotCount, volume.slotBytes], [3, SLOT]);
      for (let slot = 0; slot < 3; slot++)
        equal(await readExactly(volume, slot, slot * 5000, 20_000), pattern(20_000, slot), `slot ${slot}`);
      await volume.write(1, 100, pattern(10, 9));
      await volume.flush([1]);
      await volume.close();
      volume = await host.reopen(volume);
      equal(await readExactly(volume, 1, 100, 10), pattern(10, 9));
      equal(await readExactly(volume, 1, 5000, 20_000), pattern(20_000, 1));
      await volume.close();
    },
  },
  {
    name: "handed-over bytes outlive the volume object; others may or may not, but whole slots stay whole",
    async run(host) {
      let volume = await withSlots(host, 2);
      await volume.write(0, 0, pattern(40_000, 1));
      await volume.handOver([0]);
      await volume.write(1, 0, pattern(40_000, 2));
      await volume.close();
      volume = await host.reopen(volume);
      equal(await readExactly(volume, 0, 0, 40_000), pattern(40_000, 1), "handed over");
      equal(await readExactly(volume, 1, 0, 40_000), host.keepsUnflushed ? pattern(40_000, 2) : new Uint8Array(40_000));
      await volume.close();
    },
  },
  {
    name: "an existing volume keeps its slot size, whatever is asked for",
    async run(host) {
      let volume = await withSlots(host, 2, 128 * 1024);
      await volume.write(1, 100_000, pattern(1000, 1));
      await volume.flush([1]);
      await volume.close();
      volume = await host.reopen(volume, SLOT);
      equal([volume.slotBytes, volume.slotCount], [128 * 1024, 2]);
      equal(await readExactly(volume, 1, 100_000, 1000), pattern(1000, 1));
      await volume.addSlots(1);
      equal(await volume.read(2, 0, new Uint8Array(200_000)), 128 * 1024, "new slots have the old size");
      await volume.close();
    },
  },
  {
    name: `${MANY_SLOTS} slots written and flushed out of order`,
    async run(host) {
      let volume = await withSlots(host, MANY_SLOTS, 4096);
      const order = Array.from({ length: MANY_SLOTS }, (_, i) => (i * 97) % MANY_SLOTS);
      for (const slot of order) await volume.write(slot, slot, pattern(300, slot));
      for (const slot of order) equal(await readExactly(volume, slot, slot, 300), pattern(300, slot), `slot ${slot}`);
      await volume.flush(order);
      await volume.close();
      volume = await host.reopen(volume);
      equal(volume.slotCount, MANY_SLOTS);
      const reads = order.map((slot) => readExactly(volume, slot, slot, 300));
      for (const [i, bytes] of (await Promise.all(reads)).entries())
        equal(bytes, pattern(300, order[i]!), `slot ${order[i]} at once`);
      await volume.close();
    },
  },
  {
    name: "reads beside writes, flushes and growth see each write whole or not at all",
    async run(host) {
      const volume = await withSlots(host, 2);
      const size = 3000;
      const at = 4096 + 16 * 1024 - 1500;
      await volume.write(0, at, new Uint8Array(size).fill(1));
      let last = 1;
      const reader = async (): Promise<void> => {
        while (last < 60) {
          await turn();
          const floor = last;
          const bytes = await readExactly(volume, 0, at, size);
          check(bytes[0]! >= floor, `read ${bytes[0]} after ${floor} was written`);
          check(
            bytes.every((byte) => byte === bytes[0]),
            "one write's bytes",
          );
          check(
            (await readExactly(volume, 1, 0, 100)).every((byte) => byte === 0),
            "the other slot is untouched",
          );
          // A read may complete without a turn of the event loop. The growth of the volume needs one.
          await new Promise((resolve) => setTimeout(resolve));
        }
      };
      const writer = async (): Promise<void> => {
        for (let value = 2; value <= 60; value++) {
          await volume.write(0, at, new Uint8Array(size).fill(value));
          last = value;
          if (value % 7 === 0) await volume.addSlots(1);
          if (value % 3 === 0) await volume.flush([0]);
          else await volume.handOver([0]);
        }
      };
      await Promise.all([writer(), reader(), reader()]);
      equal(volume.slotCount, 10);
      await volume.close();
    },
  },
  {
    name: "writes during a flush are not lost, whether or not that flush carries them",
    async run(host) {
      let volume = await withSlots(host, 1);
      const model = new Uint8Array(SLOT);
      const flushes: Promise<void>[] = [];
      for (let i = 0; i < 50; i++) {
        const bytes = pattern(1000, i);
        model.set(bytes, i * 1200);
        await volume.write(0, i * 1200, bytes);
        flushes.push(volume.flush([0]));
      }
      equal(await readExactly(volume, 0, 0, SLOT), model);
      await Promise.all(flushes);
      await volume.close();
      volume = await host.reopen(volume);
      equal(await readExactly(volume, 0, 0, SLOT), model, "after the last flush");
      await volume.close();
    },
  },
  {
    name: "writes of more bytes than a volume keeps in memory",
    async run(host) {
      const slotBytes = 2 * 1024 * 1024;
      let volume = await withSlots(host, 6, slotBytes);
      for (let slot = 0; slot < 6; slot++) await volume.write(slot, 0, pattern(slotBytes, slot));
      for (let slot = 0; slot < 6; slot++) await volume.write(slot, slotBytes / 2 - 3, new Uint8Array(6).fill(slot));
      const expected = (slot: number): Uint8Array => {
        const bytes = pattern(slotBytes, slot);
        bytes.fill(slot, slotBytes / 2 - 3, slotBytes / 2 + 3);
        return bytes;
      };
      for (let slot = 0; slot < 6; slot++)
        equal(await readExactly(volume, slot, 0, slotBytes), expected(slot), `slot ${slot}`);
      await volume.flush([0, 1, 2, 3, 4, 5]);
      await volume.close();
      volume = await host.reopen(volume);
      for (let slot = 0; slot < 6; slot++)
        equal(await readExactly(volume, slot, 0, slotBytes), expected(slot), `slot ${slot} again`);
      await volume.close();
    },
  },
  {
    name: "a long random history equals a plain array, across re-opens",
    async run(host) {
      const roll = dice(20_261);
      let volume = await withSlots(host, 3);
      const model = [0, 1, 2].map(() => new Uint8Array(SLOT));
      for (let step = 0; step < 600; step++) {
        const slot = roll(3);
        const at = roll(SLOT);
        const length = Math.min(SLOT - at, [1, 40, 5000, 40_000][roll(4)]!);
        const bytes = pattern(length, step);
        model[slot]!.set(bytes, at);
        await volume.write(slot, at, bytes);
        const from = roll(SLOT);
        const size = roll(SLOT - from);
        const place = `step ${step}`;
        equal(await readExactly(volume, slot, from, size), model[slot]!.slice(from, from + size), place);
        const next = roll(40);
        if (next < 8) await volume.flush([slot]);
        else if (next < 16) await volume.handOver([slot]);
        else if (next === 16) {
          await volume.flush([0, 1, 2]);
          await volume.close();
          volume = await host.reopen(volume);
          for (const [i, expected] of model.entries())
            equal(await readExactly(volume, i, 0, SLOT), expected, `${place}, re-opened, slot ${i}`);
        }
      }
      await volume.close();
    },
  },
  {
    name: "a closed volume refuses",
    async run(host) {
      const volume = await withSlots(host, 1);
      await volume.close();
      await fails("CLOSED", () => volume.read(0, 0, new Uint8Array(1)));
      await fails("CLOSED", () => volume.prepare(0));
      await fails("CLOSED", () => volume.write(0, 0, new Uint8Array(1)));
      await fails("CLOSED", () => volume.flush([0]));
      await fails("CLOSED", () => volume.handOver([0]));
      await fails("CLOSED", () => volume.addSlots(1));
      await volume.close();
    },
  },
];
