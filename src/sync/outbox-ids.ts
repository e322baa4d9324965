/**
 * The id of a topic's outbox: drawn before the append that needs it, and left once nothing under it is un-settled.
 *
 *   none, or a claimed one that is clean ─append─▶ draw: the note has the id ─▶ the append goes on
 *   clean ─leave─▶ one commit: the log start is the end, and the note has no id
 *
 * An append that comes while an id is drawn or left waits, and looks again. What the edge told of one id says nothing
 * of the next.
 */
import { NO_OUTBOX, noteAtDraw } from "./notes.ts";
import type { Outbox } from "./outbox.ts";
import { doubtFromAtDraw } from "./settling.ts";

export interface IdHost {
  readonly outbox: Outbox;
  /** Whether there is a copy yet, and how far it goes. */
  readonly replica: object | undefined;
  readonly watermark: number;
  /** Runs one piece of the topic's work at a time. */
  alone<T>(work: () => Promise<T>): Promise<T>;
  newOutboxId(): string;
  /** The outbox has another id now, or none: what was told does not count any more. */
  idChanged(drawn: string | undefined): void;
}

export class OutboxIds {
  readonly #host: IdHost;
  #drawing: Promise<void> | undefined;
  #leaving: Promise<void> | undefined;

  constructor(host: IdHost) {
    this.#host = host;
  }

  /** Whether the next append is the first of a new id. */
  get #draws(): boolean {
    const { isClean, note } = this.#host.outbox;
    const { outbox, generation, offering } = note;
    return outbox === null || (generation > 1 && isClean && !offering);
  }

  /** Draws an id, which is committed before the append that needs it. */
  async #draw(): Promise<void> {
    const host = this.#host;
    this.#drawing ??= host
      .alone(async () => {
        if (!this.#draws) return;
        const { note, end, log } = host.outbox;
        const outbox = host.newOutboxId();
        const doubtFrom = host.replica ? doubtFromAtDraw(note.doubtFrom, host.watermark) : note.doubtFrom;
        await log.alone(() => host.outbox.saveNote(noteAtDraw(note, { outbox, first: end, doubtFrom })));
        host.idChanged(outbox);
      })
      .finally(() => (this.#drawing = undefined));
    await this.#drawing;
  }

  /** False if something is un-settled; then nothing has changed. */
  leave(): Promise<boolean> {
    const host = this.#host;
    return host.alone(async () => {
      if (!host.outbox.isClean) return false;
      // An append that comes while this is committed belongs to the next id.
      const leaving = host.outbox.trim(host.outbox.end, NO_OUTBOX);
      this.#leaving = leaving.catch(() => undefined).finally(() => (this.#leaving = undefined));
      await leaving;
      host.idChanged(undefined);
      return true;
    });
  }

  /** True if nothing may be appended in this turn: there is no id for it. */
  get isNeeded(): boolean {
    return this.#leaving !== undefined || this.#draws;
  }

  /** An append that finds no id in the note, or one that is being left, waits for this and looks again. */
  async named(): Promise<void> {
    await (this.#leaving ?? this.#draw());
  }
}
