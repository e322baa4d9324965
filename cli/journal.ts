/**
 * The state file of an append or an import: what is in the log for certain, and the one batch that may be. A process
 * that is started again with the same input and the same file goes on behind what the first has appended.
 *
 *   state written (a batch is about to go, with its time) ─▶ batch sent ─▶ acked ─▶ state written, with the next batch
 *                                                       kill -9 anywhere ─▶ the same batch is made and sent again; the
 *                                                                          log knows it by its producer and sequence
 *
 * It is written under another name, synced and renamed, so it is there whole, before or after. It is there before the
 * first batch goes, so of two processes that begin with one file at once one ends, and the other has the producer.
 */
import { Failure } from "./failure.ts";
import { identityOf } from "./identity.ts";
import { StateFile } from "./whole-file.ts";

export interface PendingBatch {
  readonly records: number;
  /** Milliseconds. The timestamp of records that have none of their own. */
  readonly timestamp: number;
  /** The log ended there, or later, before the batch was first sent. */
  readonly since: number;
  readonly crc: number;
  readonly ifEnd?: number | undefined;
}

export interface JournalState {
  readonly tidemark: 1;
  readonly target: string;
  readonly topic: string;
  readonly producerId: number;
  /** Records that earlier producers appended, which the log has forgotten: sequences count from there. */
  readonly producerFrom?: number | undefined;
  /** Records of the input that are in the log. */
  readonly appended: number;
  /** Offset behind the last of them. */
  readonly end: number;
  /** A digest of those records. It shows whether the next call has another input. */
  readonly digest: string;
  readonly pending?: PendingBatch | undefined;
}

export class Journal {
  readonly #file: StateFile | undefined;
  state: JournalState;

  private constructor(file: StateFile | undefined, state: JournalState) {
    this.#file = file;
    this.state = state;
  }

  /** `file` undefined: nothing is kept. */
  static open(file: string | undefined, target: string, topic: string, producerId: number): Journal {
    const own = identityOf(target);
    const fresh: JournalState = { tidemark: 1, target: own, topic, producerId, appended: 0, end: 0, digest: "" };
    const kept = file === undefined ? undefined : new StateFile(file);
    const found = kept?.text === undefined ? undefined : stateIn(kept.text, kept.file);
    if (found && (identityOf(found.target) !== own || found.topic !== topic))
      throw new Failure(
        `${file} belongs to an append to ${found.topic} in ${found.target}: give another file, or remove it`,
      );
    return new Journal(kept, found ?? fresh);
  }

  /** Failure: another process has written it, or it can't be written. */
  save(state: JournalState): void {
    this.state = state;
    this.#file?.write(`${JSON.stringify(state)}\n`);
  }
}

function stateIn(text: string, file: string): JournalState {
  try {
    const state = JSON.parse(text) as JournalState;
    if (state.tidemark === 1 && Number.isSafeInteger(state.appended) && Number.isSafeInteger(state.producerId))
      return state;
  } catch {
    // Refused below.
  }
  throw new Failure(`${file} is no state file of tidemark: give another file, or remove it`);
}
