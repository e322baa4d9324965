/** What a device says of a topic when it joins, and how it judges the answer. */
import { TidemarkError } from "../errors.ts";
import type { EdgeLog, JoinReply } from "./edge-socket.ts";
import { edgeCodeOf } from "./pump.ts";
import { type ReplicaStart, replicaStart } from "./replica-start.ts";
import type { SyncHost } from "./sync-host.ts";
import type { Joined, OutboxJoin } from "./sync-frames.ts";
import type { TopicStore } from "./topic-store.ts";
import { type Verdict, verdictOf } from "./verdict.ts";

const JOIN_MS = 10_000;

/** The edge's log that was joined here before; null if none was. */
export const streamOf = ({ outboxNote, replicaNote }: TopicStore): string | null =>
  outboxNote.stream ?? replicaNote?.stream ?? null;

export function joinOf(store: TopicStore, term: number, samples: OutboxJoin["samples"]): OutboxJoin {
  const { outboxNote, replicaNote, watermark: end } = store;
  const { outbox, generation, registered, first, passed } = outboxNote;
  const life = replicaNote?.life ?? null;
  return {
    outbox,
    generation,
    term,
    registered,
    first,
    end,
    passed,
    life,
    stream: streamOf(store),
    samples,
    echo: false,
  };
}

/** Sends a join. If it is not answered in time, the channel is left. */
export async function joinIn(log: EdgeLog, join: OutboxJoin, { after }: SyncHost): Promise<JoinReply> {
  const cancel = after(JOIN_MS, () =>
    log.leave(new TidemarkError("TIMEOUT", "the edge has not answered the join", { ms: JOIN_MS })),
  );
  return log.join(join).finally(cancel);
}

/** Joins once more, in the middle of a conversation, to learn what the edge knows now. */
export async function standNow(
  log: EdgeLog,
  { store, term, host }: { readonly store: TopicStore; readonly term: number; readonly host: SyncHost },
): Promise<Joined> {
  return (await joinIn(log, joinOf(store, term, await store.samples()), host)).joined;
}

export async function judgeJoin(
  store: TopicStore,
  fits: (contentType: string) => boolean,
  { outbox, registered, first, generation }: OutboxJoin,
  reply: JoinReply,
): Promise<Verdict> {
  const { outboxNote: note, start, end, toldNext } = store;
  const { next } = reply.joined;
  const lastAtNext = next > start && next <= end ? await store.crcEndingAt(next) : undefined;
  const { next: noteNext, lastCrc: noteLast } = note;
  const held = { first, start, end, noteNext, noteLast, toldNext, lastAtNext };
  const owner = note.owner ?? store.replicaNote?.owner ?? null;
  return verdictOf({ owner, stream: streamOf(store), outbox, registered, generation, held, fits }, reply);
}

/** Makes this device's copy, if there is none yet. Gives the error if the token may not read, which that needs. */
export async function makeReplica(
  store: TopicStore,
  log: EdgeLog,
  joined: Joined,
  from: ReplicaStart,
): Promise<TidemarkError | undefined> {
  if (store.base !== undefined) return undefined;
  try {
    await store.createReplica(await replicaStart(log, joined, from));
  } catch (thrown) {
    const error = TidemarkError.from(thrown);
    if (edgeCodeOf(error) !== "FORBIDDEN") throw error;
    return error;
  }
  return undefined;
}
