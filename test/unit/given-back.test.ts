/** The memory of a large batch goes to the worker with it, comes back with the ack, and holds a later batch. */
import { expect, it } from "vitest";
import { PortClient } from "../../src/browser/port/port-client.ts";
import { type PortHost, PortServer } from "../../src/browser/port/port-server.ts";
import type { Sent } from "../../src/delivery/producer.ts";
import type { Acks } from "../../src/log/types.ts";
import { BatchBuilder, LENT_BYTES } from "../../src/record/batch-builder.ts";
import { fixture, kernel } from "./log-fixtures.ts";

const owner = { producerId: -1, producerEpoch: -1, baseSequence: -1 };

function built(size: number, builder = new BatchBuilder(kernel)) {
  builder.reset();
  builder.tryAppend({ key: null, value: new Uint8Array(size).fill(size), timestamp: 7 });
  return builder.build(owner);
}

it("a builder writes the next batch into memory that was given back, and the batch is the same", () => {
  const builder = new BatchBuilder(kernel);
  const memory = new ArrayBuffer(30_000);
  builder.giveBack(memory);
  const batch = built(20_000, builder);
  expect(batch.buffer).toBe(memory);
  expect(batch).toEqual(built(20_000));
  // It has gone with that batch.
  expect(built(20_000, builder).buffer).not.toBe(memory);
});

it("a small batch, and one that would leave half of the memory empty, get a buffer of their own", () => {
  const builder = new BatchBuilder(kernel);
  const memory = new ArrayBuffer(3 * LENT_BYTES);
  builder.giveBack(memory);
  for (const size of [10, LENT_BYTES + 100]) {
    const batch = built(size, builder);
    expect(batch.buffer.byteLength).toBe(batch.length);
  }
  expect(built(2 * LENT_BYTES, builder).buffer).toBe(memory);
});

it("a batch that is larger than what was given back gets more memory, for later ones that are a little larger", () => {
  const builder = new BatchBuilder(kernel);
  builder.giveBack(new ArrayBuffer(20_000));
  const { buffer, length } = built(24_000, builder);
  builder.giveBack(buffer as ArrayBuffer);
  expect(built(length + 1000, builder).buffer).toBe(buffer);
});

async function answered(size: number, acks: Acks, copies = false): Promise<{ answer: Sent; sent: Uint8Array }> {
  const made = await fixture();
  const { port1, port2 } = new MessageChannel();
  const host: PortHost = {
    readable: async () => ({ log: made.log, born: 1 }),
    writable: async () => ({ log: made.log, born: 1 }),
    manage: async () => undefined,
    appended: () => undefined,
    failed: () => undefined,
  };
  const client = new PortClient(port1);
  new PortServer(copies ? Object.assign(port2, { copies }) : port2, host);
  try {
    await client.ready;
    const sent = built(size);
    return { answer: await client.append({ topic: "t", batch: sent, acks }), sent };
  } finally {
    port1.close();
  }
}

it("comes back with the ack of a large batch that is flushed", async () => {
  const { answer, sent } = await answered(12_000, "flushed");
  expect(sent.length).toBe(0);
  expect(answer.memory).toBeUndefined();
  const large = await answered(LENT_BYTES, "flushed");
  expect(large.answer.memory?.byteLength).toBeGreaterThan(LENT_BYTES);
});

it("does not come back at the levels at which the log may still have to write the batch, nor as a copy", async () => {
  for (const acks of ["accepted", "written"] as const)
    expect((await answered(LENT_BYTES, acks)).answer.memory, acks).toBeUndefined();
  expect((await answered(LENT_BYTES, "flushed", true)).answer.memory).toBeUndefined();
});
