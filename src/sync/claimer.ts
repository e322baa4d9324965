/**
 * A claim (docs/sync.md, "Claim"): a device whose profile was copied or put back, or that the edge has forgotten, asks
 * for the next generation. Batches that all copies of the profile hold must reach the edge once, and so must what each
 * copy wrote by itself. E is the end of the edge's log, as the last answer told it.
 *
 *   the watermark is at E ─▶ look ─┬─ nothing left ─▶ the id is left ─▶ join without one
 *                                  ├─ in doubt ─▶ a person is asked
 *                                  └─ the first frame, alone ─▶ granted, or a greater E
 */
import { TidemarkError } from "../errors.ts";
import { BATCH_HEADER_BYTES, nextOffsetOf, readHeader } from "../record/format.ts";
import { splitBatches } from "../record/record-batch.ts";
import type { EdgeLog } from "./edge-socket.ts";
import { type Block, blockOf, type Chain, edgeCodeOf, floorOf, PUSH_BYTES, type PumpEnd, readable } from "./pump.ts";
import { classOf } from "./push-answers.ts";
import type { Signal } from "./signal.ts";
import type { Joined, Pushed } from "./sync-frames.ts";
import type { OutboxRun, Range, TopicStore } from "./topic-store.ts";

export interface ClaimHost {
  readonly store: TopicStore;
  readonly changed: Signal;
  /** Positions in doubt that a person said to send again. */
  readonly again: readonly Range[];
  setBlock(block: Block): void;
  proveTerm(): Promise<void>;
  isOver(): boolean;
  pause(ms: number): Promise<void>;
  random(): number;
  offered(what: { readonly records: number; readonly left: number }): void;
  claimed(grant: { readonly generation: number; readonly found: number }): void;
  taken(pushed: Pushed): void;
}

export type ClaimEnd =
  | { readonly then: "granted"; readonly chain: Chain }
  /** Nothing was left to send, and the outbox has given up its id. */
  | { readonly then: "left" }
  /** A person must decide first. */
  | { readonly then: "blocked" }
  | PumpEnd;

const AGAIN_MS = 1_000;
/** An append that is under way ends within a few of these. */
const APPEND_MS = 10;
const MOST = { bytes: PUSH_BYTES, batches: 1_000, records: 65_536 };

/** Undefined if the join is over (`isOver`). */
export async function claim(host: ClaimHost, log: EdgeLog, joined: Joined): Promise<ClaimEnd | undefined> {
  const { store } = host;
  if (store.outboxNote.offering) return offerAgain(host, log, joined);
  let goal = joined.logEndOffset;
  for (;;) {
    await waitForWatermark(host, goal);
    if (host.isOver()) return undefined;
    const fetched = await headersBelow(store, log, joined);
    const { since, logStartOffset } = joined;
    const stand = await store.claimStand({ since, logStartOffset, fetched, again: host.again });
    if (host.isOver()) return undefined;
    if (stand.inDoubt.length > 0) {
      const message = "whether the edge has had these records can't be known: it has let go of some since";
      host.setBlock({ code: "IN_DOUBT", message, ranges: stand.inDoubt });
      return { then: "blocked" };
    }
    if (stand.unsettled === 0) {
      if (!(await store.leave())) {
        // An append is under way. Its flush needs the turns that a look without a pause would take.
        await host.pause(APPEND_MS);
        continue;
      }
      host.claimed({ generation: joined.generation, found: stand.found });
      return { then: "left" };
    }
    const end = await firstFrame(host, log, stand);
    if (typeof end !== "number") return end;
    goal = Math.max(goal, end);
    await host.pause(host.random() * AGAIN_MS);
  }
}

async function waitForWatermark({ store, changed, isOver }: ClaimHost, goal: number): Promise<void> {
  while (store.watermark < goal && !isOver()) await changed.wait();
}

/** Offers what the edge has lost, each frame as a claim of its own. Then the topic joins again. */
async function offerAgain(host: ClaimHost, log: EdgeLog, joined: Joined): Promise<ClaimEnd | undefined> {
  const { store } = host;
  const offers = await store.offers();
  let since: number | undefined;
  for (let goal = joined.logEndOffset; ;) {
    await waitForWatermark(host, goal);
    if (host.isOver()) return undefined;
    const headers = (from: number): Promise<Uint8Array[]> =>
      headersBelow(store, log, { since: from, logStartOffset: joined.logStartOffset });
    since ??= await offers?.check(await headers(Math.max(0, store.outboxNote.offering!.since - 1)));
    if (host.isOver()) return undefined;
    const fetched = await headers(since ?? 0);
    const readTo = store.watermark;
    const look = { fetched, isClosed: joined.closed, holesFrom: holesFrom(joined, since ?? 0) };
    const run = store.outboxNote.outbox === null ? undefined : await offers?.next(look, MOST);
    if (host.isOver()) return undefined;
    if (!run) {
      // The event comes before the commit of end(). If the process ends between the two, the next opening sends the
      // event again. In the other order nobody might hear of the records that are left.
      host.offered({ records: offers?.records ?? 0, left: offers?.left ?? 0 });
      await offers?.end();
      return { then: "join" };
    }
    await host.proveTerm();
    if (host.isOver()) return undefined;
    const pushed = await pushedTo(log, run, readTo);
    if (host.isOver()) return undefined;
    if (!(pushed instanceof TidemarkError)) {
      await offers!.taken(run, pushed.generation);
      host.taken(pushed);
      goal = pushed.lastOffset + 1;
    } else if (classOf(edgeCodeOf(pushed)) === "poison") offers!.refused(run, Number(pushed.details["index"] ?? 0));
    else {
      const end = afterRefusal(host, run, pushed);
      if (typeof end !== "number") return end;
      goal = Math.max(goal, end);
      await host.pause(host.random() * AGAIN_MS);
    }
  }
}

/**
 * From where on a hole may hide what a copy of this profile has offered. The registry says how far the id had pushed
 * when it joined: if that was below `since`, whatever is missing up to the log's end of then was never ours.
 */
function holesFrom({ forgottenAt, lastOffset, logEndOffset }: Joined, since: number): number {
  return forgottenAt === 0 && lastOffset < since ? logEndOffset : since;
}

/** Sends the first frame, alone. A number: the claim was not granted, and the replica must reach this offset first. */
async function firstFrame(
  host: ClaimHost,
  log: EdgeLog,
  { readTo, found }: { readonly readTo: number; readonly found: number },
): Promise<ClaimEnd | number | undefined> {
  const { store } = host;
  let isDamaged = false;
  const setBlock = (block: Block): void => {
    isDamaged = true;
    host.setBlock(block);
  };
  const run = await readable({ store, setBlock }, store.firstUnsettled, MOST);
  if (isDamaged) return { then: "blocked" };
  if (!run) return { then: "join" };
  await host.proveTerm();
  if (host.isOver()) return undefined;
  const pushed = await pushedTo(log, run, readTo);
  if (host.isOver()) return undefined;
  if (pushed instanceof TidemarkError) return afterRefusal(host, run, pushed);
  const { generation, next, lastOffset } = pushed;
  await store.granted({ generation, next, lastOffset, lastCrc: run.lastCrc });
  host.claimed({ generation, found });
  host.taken(pushed);
  return { then: "granted", chain: { expected: next, previous: run.lastCrc } };
}

/** The edge's answer. What fails on the device behind it, because that is full, is no answer, and is thrown. */
const pushedTo = (log: EdgeLog, { at, batches }: OutboxRun, readTo: number): Promise<Pushed | TidemarkError> =>
  log.push({ expected: at, at, readTo, previous: 0 }, batches).catch((thrown: unknown) => TidemarkError.from(thrown));

function afterRefusal(host: ClaimHost, run: OutboxRun, error: TidemarkError): ClaimEnd | number {
  const code = edgeCodeOf(error);
  const { details } = error;
  if (code === "OUTBOX_CONFLICT")
    return Math.max(Number(details["lastOffset"] ?? -1) + 1, Number(details["logEndOffset"] ?? 0));
  switch (classOf(code)) {
    case "poison":
      host.setBlock(blockOf(run, error));
      return { then: "blocked" };
    case "right":
      host.setBlock({ code, message: error.toWire().message, ranges: [] });
      return { then: "blocked" };
    case "token":
      return { then: "token" };
    case "wait":
      return { then: "retry", code, floorMs: floorOf(error) };
    default:
      return { then: "join" };
  }
}

/** Headers of the edge's batches below the replica's start, which may be own ones. They are only looked at. */
async function headersBelow(
  store: TopicStore,
  log: EdgeLog,
  joined: Pick<Joined, "since" | "logStartOffset">,
): Promise<Uint8Array[]> {
  const found: Uint8Array[] = [];
  const end = store.base ?? 0;
  for (let from = Math.max(joined.since, joined.logStartOffset); from < end;) {
    const batches = splitBatches(await log.fetch(from));
    if (batches.length === 0) break;
    for (const batch of batches) {
      const header = readHeader(batch);
      if (header.baseOffset >= end) return found;
      found.push(batch.slice(0, BATCH_HEADER_BYTES));
      from = nextOffsetOf(header);
    }
  }
  return found;
}
