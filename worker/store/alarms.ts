/**
 * An object has one alarm; here it has several, by name, and the platform's is the earliest of them. A row is written
 * only when that moves to an earlier time: an alarm that comes too early finds nothing to do and is planned anew.
 */
interface AlarmStorage {
  getAlarm(): Promise<number | null>;
  setAlarm(at: number): Promise<void>;
  deleteAlarm(): Promise<void>;
}

/** No Date is later: a lifetime of a million years ends there. */
const LATEST = 8.64e15;

export class Alarms {
  readonly #storage: AlarmStorage;
  readonly #due = new Map<string, number>();
  #set: number | undefined;

  constructor(storage: AlarmStorage) {
    this.#storage = storage;
  }

  /** What was set before the object slept. Without it a later alarm would take an earlier one's place. */
  async load(): Promise<void> {
    this.#set ??= (await this.#storage.getAlarm()) ?? undefined;
  }

  plan(name: string, at: number | undefined): void {
    if (at === undefined) this.#due.delete(name);
    else this.#due.set(name, Math.min(at, LATEST));
    const earliest = Math.min(...this.#due.values());
    if (earliest >= (this.#set ?? Infinity)) return;
    this.#set = earliest;
    void this.#storage.setAlarm(earliest);
  }

  /** The alarm has come. Everybody plans anew what is still to be done. */
  fired(): void {
    this.#set = undefined;
    this.#due.clear();
  }

  clear(): void {
    this.fired();
    void this.#storage.deleteAlarm();
  }
}
