/**
 * How a topic becomes a synced one: in one commit of the catalog its log becomes its outbox. No byte moves.
 *
 *   orders-0 ──renamed, with a note──▶ orders-0.out        the replica is made at the first join
 */
import { TidemarkError } from "../errors.ts";
import type { Log } from "../log/log.ts";
import { renameLog } from "../store/noted-logs.ts";
import type { SegmentStore } from "../store/segment-store.ts";
import { newOutboxNote, type OutboxNote } from "./notes.ts";
import { stored } from "./outbox.ts";
import { outboxName, replicaName } from "./log-names.ts";
import { becameSynced } from "./synced-now.ts";
import type { KeptOptions } from "./topic-options.ts";

export interface BecomeSynced {
  readonly topic: string;
  readonly store: SegmentStore;
  readonly url: string;
  readonly path: string;
  readonly newOutboxId: () => string;
  readonly options?: KeptOptions | undefined;
  /** The first `anew` of the copy: a number that no earlier copy of the topic had. So its name is new. Default 0. */
  readonly anew?: number | undefined;
  /** The topic's log, if it is open. Commits under way in it finish first, and reads that wait in it end. */
  readonly log?: Log | undefined;
}

/**
 * Durable when it resolves. Does nothing if the topic is synced already. After a crash the topic has either its local
 * log or the outbox. INVALID_ARGUMENT {reason: "compacted"} if compaction has removed records: a pushed batch must have
 * as many records as its span.
 */
export async function becomeSynced(asked: BecomeSynced): Promise<void> {
  const { topic, store, url, path, newOutboxId, options, log, anew } = asked;
  const noteOf = (outbox: string | null, first: number): OutboxNote => ({
    ...newOutboxNote({ url, path }, outbox, first, options),
    ...(anew && { anew }),
  });
  const name = outboxName(topic);
  if (store.bornOf(name) !== undefined) return;
  const local = await store.find(replicaName(topic));
  if (!local) {
    await store.log(name, undefined, { note: stored(noteOf(null, 0)) });
    return;
  }
  const rename = async (): Promise<void> => {
    if (local.segments().some(({ compacted }) => compacted))
      throw new TidemarkError(
        "INVALID_ARGUMENT",
        `the topic ${topic} was compacted: what is left of it can't be synced`,
        { topic, reason: "compacted" },
      );
    const { logStartOffset, logEndOffset } = local;
    const outbox = logEndOffset > logStartOffset ? newOutboxId() : null;
    const note = noteOf(outbox, logStartOffset);
    await renameLog(store, local, name, stored(outbox === null ? note : { ...note, adopted: logEndOffset }));
  };
  if (!log) return rename();
  await log.alone(rename);
  log.configure({ ...log.settings, retention: {}, compaction: undefined });
  log.reads.fail(becameSynced(topic));
}
