/** A person's answers to what sync can't decide, in the worker that leads. Loaded by the first one, or by a block. */
import type { Kernel } from "../../kernel/types.ts";
import type { LogApi } from "../../log/types.ts";
import { TidemarkError } from "../../errors.ts";
import type { Session } from "../../sync/session.ts";
import type { SegmentStore } from "../../store/segment-store.ts";
import type { Block } from "../../sync/pump.ts";
import { blockedRuns, contentsOf, setAside } from "../../sync/set-aside.ts";
import { checkKept, detach, restart } from "../../sync/stop-syncing.ts";
import type { Range } from "../../sync/topic-store.ts";
import type { SyncedTopic } from "./open-synced.ts";

export interface AnswerHost {
  readonly kernel: Kernel;
  readonly store: SegmentStore;
  /** The log of a local topic, which is made if it is not there. INVALID_ARGUMENT if that topic is synced. */
  local(topic: string): Promise<LogApi>;
}

export interface Answered extends SyncedTopic {
  readonly session: Session;
}

/** How a topic's sync ends, or begins anew. */
export type Leaving = "detach" | "restart" | "offerAgain";

const KEYS_MAX = 10;

/** What becomes of what is blocked. */
export type BlockChoice = "retry" | "setAside" | "discard";

export interface BlockedContents {
  readonly records: number;
  readonly bytes: number;
  readonly keys: readonly (string | null)[];
}

/** The records that the block of a session holds back: how many, their bytes, and the first keys. */
export async function describeBlock({ kernel }: AnswerHost, { store, session }: Answered): Promise<BlockedContents> {
  const { block } = session;
  const runs = block ? await blockedRuns(store, block) : [];
  const records = runs.reduce((sum, [from, to]) => sum + to - from, 0);
  // A block that names no batch holds back the whole outbox. That may be much, so it is counted and not read.
  if (block?.ranges.length === 0) return { records, bytes: store.pending.bytes, keys: [] };
  return { records, ...(await contentsOf(store, kernel, runs, KEYS_MAX)) };
}

/** By session: the answers before. */
const underway = new WeakMap<Session, Promise<unknown>>();
/** What was answered, by block. */
const given = new WeakMap<Block, BlockChoice>();

/**
 * Answers a block. Answers of several tabs run one after the other, because what one sends again another one must not
 * discard: the second one is as good as done if it is the same, and else INVALID_ARGUMENT {topic}.
 */
export function answerBlock(host: AnswerHost, answered: Answered, block: Block, choice: BlockChoice): Promise<void> {
  const { session, store } = answered;
  const before = underway.get(session) ?? Promise.resolve();
  const answer = before.then(async () => {
    if (session.block !== block) {
      if (given.get(block) === choice) return;
      const { topic } = store;
      const message = `${topic} is not blocked so any more: another call has answered, or it joins again`;
      throw new TidemarkError("INVALID_ARGUMENT", message, { topic });
    }
    if (choice !== "retry") await retractBlocked(host, answered, block, choice);
    given.set(block, choice);
    // The session may have another block by now, which this answer is not about.
    if (session.block === block) session.unblock(choice === "retry" && block.code === "IN_DOUBT" ? block.ranges : []);
  });
  underway.set(
    session,
    answer.catch(() => undefined),
  );
  return answer;
}

/** The blocked records leave the outbox. With "setAside" they stand in `<name>.aside` before, durably. */
async function retractBlocked(
  host: AnswerHost,
  { store }: Answered,
  block: Block,
  choice: "setAside" | "discard",
): Promise<void> {
  const runs = await blockedRuns(store, block);
  if (choice === "setAside") {
    const log = await host.local(`${store.topic}.aside`);
    const { code, message } = block;
    await setAside({ storage: store, kernel: host.kernel, log, reason: { code, message } }, runs);
  }
  for (const [from, to] of runs) await store.retract(from, to, choice === "discard" ? "discarded" : "aside");
}

/** What is refused before anything changes. */
export function checkLeaving(
  { store }: AnswerHost,
  { store: storage, session }: Answered,
  choice: Leaving,
  isForced: boolean,
): void {
  const { topic, pending } = storage;
  const { records, bytes } = pending;
  if (records > 0 && !isForced)
    throw new TidemarkError("SYNC_PAUSED", `${records} records of ${topic} are not at the edge: wait, or use force`, {
      topic,
      records,
      bytes,
    });
  const { state } = session;
  if (choice === "offerAgain" && !(state.at === "stopped" && state.code === "DIVERGED"))
    throw new TidemarkError(
      "INVALID_ARGUMENT",
      `${topic} was not stopped by an edge that went back: "offerAgain" answers DIVERGED only; use "restart"`,
      { field: "choice", topic, code: state.at === "stopped" ? state.code : undefined },
    );
  if (choice !== "detach" && records > 0 && state.at === "stopped" && state.code === "OWNER_CHANGED")
    throw new TidemarkError("INVALID_ARGUMENT", `records of ${topic} are another owner's: "detach" keeps them here`, {
      topic,
      reason: "owner",
    });
  checkKept(store, topic);
}

/** Called once the topic's logs are closed. Gives the positions that nobody waits for any more. */
export async function leaveLog(
  { store }: AnswerHost,
  { store: storage, session: { state } }: Answered,
  choice: Leaving,
): Promise<readonly Range[]> {
  const left = choice === "detach" ? await blockedRuns(storage, { ranges: [] }) : [];
  const agreedTo = state.at === "stopped" ? Number(state.details["agreedTo"] ?? 0) : 0;
  await (choice === "detach"
    ? detach(store, storage)
    : restart(store, storage, choice === "offerAgain" ? agreedTo : undefined));
  return left;
}
