/**
 * An object has only one alarm; this gives it several, by name, and sets the platform's alarm to the earliest. A row is
 * written only if that moves to an earlier time: an alarm that fires too early finds nothing to do and is set again.
 */
interface AlarmStorage {
  getAlarm(): Promise<number | null>;
  setAlarm(at: number): Promise<void>;
  deleteAlarm(): Promise<void>;
}

/** The latest Date that exists. A lifetime of a million years ends there. */
const LATEST = 8.64e15;

export class Alarms {
  readonly #storage: AlarmStorage;
  readonly #due = new Map<string, number>();
  #set: number | undefined;

  constructor(storage: AlarmStorage) {
    this.#storage = storage;
  }

  /** Loads the alarm that was set before the object slept. Otherwise a later alarm would replace an earlier one. */
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

  /** The alarm has fired. Everybody who still has work sets it again. */
  fired(): void {
    this.#set = undefined;
    this.#due.clear();
  }

  clear(): void {
    this.fired();
    void this.#storage.deleteAlarm();
  }
}
