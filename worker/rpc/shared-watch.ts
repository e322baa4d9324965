/**
 * One socket to a log's object for all readers that this isolate holds of the log. A thousand sockets cost the object a
 * message each for every commit; here one message is told to all of them.
 *
 *   object ── notice ──▶ socket of one reader's request ──▶ told to each watch ──▶ each reader's own answer
 *
 * A socket belongs to the request that opened it and ends with that request. When its reader leaves, another one opens
 * a socket, in its own request. What was committed in between is not lost: the new socket says at once if the log ends
 * behind what is known here, and each reader asks for what it lacks. A reader may also end without a word, with its
 * request. So a socket of which nothing was heard for some heartbeats, neither a notice nor its reader, is replaced.
 */
import type { NewsForm, Notice } from "./notice.ts";
import { type Ask, listen, type Listening, type NoticeSource, openWatching, Watch } from "./watch.ts";
import { closeSocket } from "./sockets.ts";

/** After this many heartbeats without a sign of its reader, a socket is replaced. */
const SILENT_HEARTBEATS = 1.5;
/** After this many readers other work gets a turn. Then appends go on, and the first readers' notices leave. */
const TOLD_AT_ONCE = 32;
/** How many waiting readers are woken when a socket is needed. One of them opens it; others may be gone unnoticed. */
const WOKEN = 3;

export interface SharedOpening {
  /** Names the stream: its place, and itself, because another one may stand at the same place later. */
  readonly key: string;
  readonly ask: Ask;
  /** Where the reader is: what lies before is known. */
  readonly offset: number;
  readonly form: NewsForm;
  readonly signal: AbortSignal | undefined;
  /** When the reader's answer is over at the latest, in milliseconds since 1970. */
  readonly untilMs: number;
  /** A waiting reader looks at least this often, in milliseconds. */
  readonly heartbeatMs: number;
}

interface Sharing {
  readonly opening: SharedOpening;
  /** The socket of its request, if it opened one. */
  socket?: Listening;
}

const all = new Map<string, SharedSocket>();

class SharedSocket implements NoticeSource {
  readonly #key: string;
  readonly #watches = new Map<Watch, Sharing>();
  /** Whose request holds the socket, or opens it. */
  #owner: Watch | undefined;
  #newest: Notice;
  /** When there was a sign of the owner. */
  #heardMs = 0;
  /** What readers are still to be told, in its order. */
  #untold: Notice[] = [];
  #isTelling = false;
  /** Counts owners: what an earlier one was about to tell does not count any more. */
  #term = 0;

  constructor(key: string, offset: number) {
    this.#key = key;
    this.#newest = { end: offset, closed: false };
  }

  join(opening: SharedOpening): Watch {
    const { end, closed } = this.#newest;
    const watch = new Watch(this, { end, closed });
    this.#watches.set(watch, { opening });
    return watch;
  }

  ready(watch: Watch): Promise<void> | undefined {
    const sharing = this.#watches.get(watch);
    if (!sharing) return undefined;
    const isSilent = Date.now() - this.#heardMs > SILENT_HEARTBEATS * sharing.opening.heartbeatMs;
    if (this.#owner === undefined || (isSilent && this.#owner !== watch)) return this.#open(watch, sharing);
    if (this.#owner === watch) this.#heardMs = Date.now();
    return undefined;
  }

  async #open(watch: Watch, sharing: Sharing): Promise<void> {
    this.#owner = watch;
    this.#heardMs = Date.now();
    const { ask, form } = sharing.opening;
    let socket: Listening;
    try {
      socket = await openWatching(ask, { offset: this.#newest.end, form });
    } catch (thrown) {
      this.#release(watch);
      throw thrown;
    }
    const isOwner = (): boolean => this.#owner === watch;
    listen(socket, { told: (notice) => isOwner() && this.#told(notice), ended: () => isOwner() && this.#end() });
    if (!isOwner()) return closeSocket(socket, 1000);
    // This reader may have owned a socket before, until it was taken for gone. That socket is closed.
    closeSocket(sharing.socket, 1000);
    sharing.socket = socket;
    this.#term++;
    if (this.#isTelling) this.#tellAgain();
  }

  #told(notice: Notice): void {
    this.#heardMs = Date.now();
    this.#newest = notice;
    this.#untold.push(notice);
    if (!this.#isTelling) void this.#tell();
  }

  /** Runs in the request of the owner. A reader that joins meanwhile knows the newest end. */
  async #tell(): Promise<void> {
    const term = this.#term;
    this.#isTelling = true;
    while (this.#untold.length > 0) {
      const notices = this.#untold;
      this.#untold = [];
      for (const [i, [watch, { opening }]] of [...this.#watches].entries()) {
        if (i > 0 && i % TOLD_AT_ONCE === 0) await new Promise((resolve) => setTimeout(resolve, 0));
        // Another owner has taken over and has told the rest.
        if (this.#term !== term) return;
        for (const notice of notices) watch.told(notice);
        // The time of this reader's answer was over before the last sign, so the reader has ended without saying so.
        if (opening.untilMs < this.#heardMs && watch !== this.#owner) this.#watches.delete(watch);
      }
    }
    this.#isTelling = false;
  }

  /** The owner before this one ended while it told the others. Those that it had not told yet ask for the records. */
  #tellAgain(): void {
    const { end, closed } = this.#newest;
    this.#isTelling = false;
    this.#untold = [];
    for (const watch of this.#watches.keys()) watch.told({ end, closed });
  }

  /** The object has closed the socket, or was lost: the readers come again. */
  #end(): void {
    this.#forget();
    for (const watch of this.#watches.keys()) watch.ended();
  }

  leave(watch: Watch): void {
    const socket = this.#watches.get(watch)?.socket;
    this.#watches.delete(watch);
    if (this.#watches.size === 0) this.#forget();
    this.#release(watch);
    closeSocket(socket, 1000);
  }

  #forget(): void {
    if (all.get(this.#key) === this) all.delete(this.#key);
  }

  /**
   * If nobody holds the socket now, another one is found: one that stays longest. A thousand readers whose answers end
   * one after the other would else hand it on many times a minute, and each time while nobody is told of anything.
   */
  #release(watch: Watch): void {
    if (this.#owner === watch) this.#owner = undefined;
    // Also for a reader without the socket: if nobody has it, the readers that were woken before may leave as well.
    if (this.#owner !== undefined) return;
    const waiting = [...this.#watches].sort(([, one], [, other]) => other.opening.untilMs - one.opening.untilMs);
    let woken = 0;
    for (const [other] of waiting) if (other.nudge() && ++woken === WOKEN) return;
  }
}

/** A watch of a reader that shares. The first one of a stream opens the socket; its refusal is thrown. */
export async function sharedWatch(opening: SharedOpening): Promise<Watch> {
  const { key, offset, signal } = opening;
  const shared = all.get(key) ?? new SharedSocket(key, offset);
  all.set(key, shared);
  const watch = shared.join(opening);
  try {
    await shared.ready(watch);
  } catch (thrown) {
    watch.close();
    throw thrown;
  }
  watch.endWith(signal);
  return watch;
}
