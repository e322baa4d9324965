/**
 * Tells all tabs that a topic is blocked, once it is known what is: how many records, and whose keys. The contents are
 * read from the outbox once for each block, and the status has them from then on.
 */
import { TidemarkError } from "../../errors.ts";
import type { Block } from "../../sync/pump.ts";
import type { Session } from "../../sync/session.ts";
import type { SyncStatus } from "../sync-api.ts";
import type { Answered, AnswerHost, BlockedContents } from "./answers.ts";
import { blockedOf } from "./sync-status.ts";
import type { SyncNews } from "./words.ts";

export interface BlockNewsHost {
  readonly volume: AnswerHost & { tell(news: SyncNews): void; failed(error: TidemarkError): void };
  isClosed(): boolean;
  status(): SyncStatus;
}

export class BlockNews {
  readonly #host: BlockNewsHost;
  readonly #contents = new WeakMap<Block, BlockedContents>();

  constructor(host: BlockNewsHost) {
    this.#host = host;
  }

  /** What the session's block holds back; undefined before it was read. */
  contentsOf({ block }: Session): BlockedContents | undefined {
    return block && this.#contents.get(block);
  }

  /** If the contents can't be read the event says less. */
  async tell(topic: string, answered: Answered, block: Block): Promise<void> {
    const { volume } = this.#host;
    try {
      const { describeBlock } = await import("./answers.ts");
      this.#contents.set(block, await describeBlock(volume, answered));
    } catch (thrown) {
      volume.tell({ type: "status", status: this.#host.status() });
      if (TidemarkError.from(thrown).kind === "reopen") volume.failed(TidemarkError.from(thrown));
    }
    const { session } = answered;
    const blocked = session.block === block && blockedOf(session, this.#contents.get(block));
    if (blocked && !this.#host.isClosed()) volume.tell({ type: "blocked", topic, blocked });
  }
}
