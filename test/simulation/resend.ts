/**
 * After an open each producer re-sends its unanswered batches with their old sequences, or begins a new epoch.
 */
import type { Reading } from "./check.ts";
import { describe, Violation } from "./model.ts";
import { honestRefusals, send } from "./producers.ts";
import type { SentBatch } from "./records.ts";
import type { Simulation } from "./simulation.ts";

export async function resendAll(sim: Simulation, at: number, reading: Reading, resend: boolean): Promise<void> {
  const { life, counters, trace } = sim;
  const model = sim.models[at]!;
  const log = life.logs[at]!;
  refuseAbsent(model.batches, reading);
  for (const producer of sim.producers[at]!) {
    producer.restart();
    const open = producer.batches.filter((batch) => batch.state === "sent");
    const rotten = model.lost.some(({ to }) => to > model.start);
    // Rot may have destroyed this producer's last sequences, so it begins a new epoch.
    if (producer.anonymous || rotten || (!resend && open.length > 0)) {
      producer.newEpoch();
      refuseAbsent(model.batches, reading);
      continue;
    }
    for (const batch of open) {
      const expected = expectation(batch, reading, model.plan.compaction !== undefined);
      counters.add("resent");
      life.start("append", async () => {
        const allowed = (): string[] => honestRefusals(life, producer, model, producer.underWay > 1);
        await send({
          life,
          log,
          model,
          producer,
          batch,
          options: { acks: "flushed" },
          counters,
          trace,
          allowed,
          first: false,
          expectDuplicate: expected,
        });
      });
      await life.steps(sim.random.int(3));
    }
  }
  await life.settle();
  for (const producer of sim.producers[at]!) {
    // A refusal (for want of room, say) makes the producer begin a new epoch. After a crash the next open re-sends.
    if (producer.batches.some((batch) => batch.state === "sent") && !life.broken) producer.newEpoch();
  }
}

/** Refuses batches that were given up and are not in the opened log: they must never appear again. */
function refuseAbsent(batches: readonly SentBatch[], reading: Reading): void {
  if (reading.gaps.length > 0) return;
  const present = new Set(reading.records.values());
  for (const batch of batches)
    if (batch.state === "abandoned" && !batch.records.some((record) => present.has(record))) batch.state = "refused";
}

/** Must the log know this batch already? Undefined if a trim or a compaction may have removed it. */
function expectation(batch: SentBatch, reading: Reading, compacts: boolean): boolean | undefined {
  const present = new Set(reading.records.values());
  const found = batch.records.filter((record) => present.has(record)).length;
  if (found > 0 && found < batch.records.length && !compacts && reading.start === 0) {
    throw new Violation("torn-batch", `${found} records of ${describe(batch)}`);
  }
  if (found > 0) return true;
  return compacts || reading.start > 0 || reading.gaps.length > 0 ? undefined : false;
}
