/** H11: an outbox's entry left the memory of the edge's object, because many others pushed since. Node's SQLite. */
import { expect, it } from "vitest";
import { joinOutbox } from "../../worker/stream/join.ts";
import { HOT_MAX } from "../../worker/stream/outboxes.ts";
import { A, batchAt, Edge, edge, OWNER } from "./outbox-edge.ts";
import { readHeader } from "../../src/record/format.ts";

/** More than the memory holds, so that the first ones are spilled. */
const OTHERS = 17_000;
const AT_ONCE = 1_000;

it(`an outbox is in its row while ${OTHERS} others push: next comes from there, nothing is taken twice`, async () => {
  expect(OTHERS).toBeGreaterThan(HOT_MAX);
  const log = await edge();
  await log.join();
  const mine = [batchAt(0, 2), batchAt(2)];
  await log.push(mine);
  const { crc: lastCrc } = readHeader(mine[1]!);
  await log.stream.log.roll();
  const { outboxes, pushes } = log.stream;
  for (let first = 0; first < OTHERS; first += AT_ONCE) {
    // A person's devices are a thousand a day at most.
    const owner = `owner-${first}`;
    await Promise.all(
      Array.from({ length: AT_ONCE }, async (_, i) => {
        const outbox = (0x1000 + first + i).toString(16).padStart(16, "0");
        const asked = { outbox, generation: 1, term: 1, registered: false, first: 0, end: 0, passed: 0 };
        const join = { ...asked, life: null, stream: null, samples: [] };
        await joinOutbox(log.stream, { outboxes, pushes, nowMs: log.now }, join, { owner, mayWrite: true });
        await log.push([batchAt(0)], { outbox, owner });
      }),
    );
    log.now += 1;
    await log.stream.log.roll();
  }
  expect(log.outboxes.count).toBeLessThanOrEqual(HOT_MAX);
  const { tail } = log.stream;
  for (const again of [log, await new Edge(log.sql).open()]) {
    expect(await again.join({ registered: true })).toMatchObject({ known: true, next: 3, lastOffset: 2, lastCrc });
    // The answer was lost: what is sent again is not taken again.
    expect(await again.push([batchAt(2)], { previous: lastCrc })).toMatchObject({ duplicate: true, lastOffset: 2 });
    expect(again.stream.tail).toBe(tail);
  }
  expect(await log.push([batchAt(3)], { previous: lastCrc, owner: OWNER, outbox: A })).toMatchObject({ next: 4 });
});
