/**
 * `tidemark/tanstack-db`: a topic as a collection of TanStack DB. A record is a row: its key is the row's, its value
 * the whole row, and null deletes it. So `compaction: true` keeps one record for each row.
 *
 *   changes() ─▶ rows: committed, and own ones without a place on top ─▶ begin, write …, commit at each level
 *   insert, update, delete of a transaction ─▶ one appendBatch() ─▶ ack, and back by changes() ─▶ no longer optimistic
 *
 *     const todos = createCollection(
 *       tidemarkCollectionOptions<Todo>({ tide: "my-app", topic: "todos", getKey: ({ id }) => id }),
 *     );
 */
import type { CollectionConfig, PendingMutation, SyncConfig } from "@tanstack/db";
import { type Change, type Tide, TidemarkError } from "../browser/index.ts";
import { check } from "./checks.ts";
import { definitionOf, type TopicRef } from "./followers.ts";
import { type TideOptions, tideSource } from "./page-tide.ts";
import { uncaught } from "./shared.ts";

type Key = string | number;
type SyncParams<T extends object, K extends Key> = Parameters<SyncConfig<T, K>["sync"]>[0];

/** What createCollection() takes, but for what this gives; and where the rows are. */
export interface TidemarkCollectionConfig<T extends object, K extends Key> extends Omit<
  CollectionConfig<T, K>,
  "sync" | "onInsert" | "onUpdate" | "onDelete" | "schema" | "syncMode"
> {
  /** Opened by the first subscriber, as providers of the same name do; or one that the application has opened. */
  readonly tide: string | Tide;
  readonly options?: TideOptions | undefined;
  readonly topic: TopicRef<T>;
}

/** A row: what is committed, and own values without a place in their order. null: deleted. */
interface Row<T, K> {
  readonly key: K;
  committed: T | null;
  readonly own: Map<string, T | null>;
  /** What the collection has. */
  shown: T | null;
}

/** Rows as the topic tells them. `write` is called for those that differ from what the collection has. */
class Rows<T extends object, K extends Key> {
  readonly #rows = new Map<string, Row<T, K>>();
  /** The keys of own records, by their ids. */
  readonly #keys = new Map<string, string>();
  readonly #touched = new Set<Row<T, K>>();
  readonly #getKey: (row: T) => K;

  constructor(getKey: (row: T) => K) {
    this.#getKey = getKey;
  }

  clear(): void {
    for (const each of [this.#rows, this.#keys, this.#touched]) each.clear();
  }

  take(change: Extract<Change<T>, { readonly type: "append" | "settle" | "retract" }>): void {
    if (change.type === "retract") {
      const row = this.#rows.get(this.#keys.get(change.id) ?? "");
      this.#keys.delete(change.id);
      row?.own.delete(change.id);
      if (row) this.#touched.add(row);
      return;
    }
    const { id, key, provisional } = change.record;
    let value: T | null;
    try {
      ({ value } = change.record);
      // A record without a key, or with another key than its value has, is no row.
      if (key === null || (value !== null && String(this.#getKey(value)) !== key)) return;
    } catch (thrown) {
      // This record can't be read, or does not fit the topic's schema. The others are not affected.
      return uncaught(thrown);
    }
    const row = this.#rows.get(key) ?? this.#made(key, value);
    if (!row) return;
    if (provisional) {
      row.own.set(id, value);
      this.#keys.set(id, key);
    } else {
      row.committed = value;
      row.own.delete(id);
      this.#keys.delete(id);
    }
    this.#touched.add(row);
  }

  #made(key: string, value: T | null): Row<T, K> | undefined {
    // A tombstone for a row that was never here changes nothing.
    if (value === null) return undefined;
    const row: Row<T, K> = { key: this.#getKey(value), committed: null, own: new Map(), shown: null };
    this.#rows.set(key, row);
    return row;
  }

  flush(write: (message: { type: "insert" | "update"; value: T } | { type: "delete"; key: K }) => void): void {
    for (const row of this.#touched) {
      const now = row.own.size > 0 ? [...row.own.values()].at(-1)! : row.committed;
      if (now !== null) write({ type: row.shown === null ? "insert" : "update", value: now });
      else if (row.shown !== null) write({ type: "delete", key: row.key });
      row.shown = now;
    }
    this.#touched.clear();
  }
}

/** Appends that a transaction waits for until they have come back. */
class Echoes {
  /** Ids that came while appends were under way. */
  readonly #came = new Set<string>();
  readonly #waiting = new Map<string, () => void>();
  #underWay = 0;
  isRunning = false;

  came(id: string): void {
    if (this.#underWay > 0) this.#came.add(id);
  }
  /** What has come is in the collection from now on. */
  told(): void {
    for (const [id, resolve] of this.#waiting) if (this.#came.has(id)) resolve();
  }
  stop(): void {
    this.isRunning = false;
    for (const resolve of this.#waiting.values()) resolve();
  }
  async after(append: () => Promise<{ readonly id: string }>): Promise<void> {
    this.#underWay++;
    try {
      const { id } = await append();
      if (!this.#came.has(id) && this.isRunning)
        await new Promise<void>((resolve) => this.#waiting.set(id, resolve)).finally(() => this.#waiting.delete(id));
    } finally {
      if (--this.#underWay === 0) this.#came.clear();
    }
  }
}

interface Following<T> {
  readonly changesOf: () => Promise<AsyncIterable<Change<T>>>;
  readonly signal: AbortSignal;
  /** The tide was opened again after its end. */
  readonly isAnew: boolean;
}

/** Writes what the topic has, until it is ended, and begins anew on a topic that was deleted. */
async function follow<T extends object, K extends Key>(
  { begin, write, commit, truncate, markReady, markError, collection }: SyncParams<T, K>,
  rows: Rows<T, K>,
  echoes: Echoes,
  { changesOf, signal, isAnew }: Following<T>,
): Promise<void> {
  const clear = (): void => {
    rows.clear();
    begin();
    truncate({ markReady: false });
    commit();
  };
  const run = async (): Promise<void> => {
    for await (const change of await changesOf()) {
      if (change.type === "reset") clear();
      else if (change.type === "level") {
        begin();
        rows.flush((message) => write(message as Parameters<typeof write>[0]));
        commit();
        echoes.told();
        markReady();
      } else if (change.type !== "gap") {
        rows.take(change);
        if (change.type !== "retract") echoes.came(change.record.id);
      }
    }
  };
  if (isAnew) clear();
  while (!signal.aborted) {
    try {
      return await run();
    } catch (thrown) {
      if (signal.aborted) return;
      const error = TidemarkError.from(thrown);
      if (error.code === "UNKNOWN_TOPIC" && error.details["deleted"]) {
        clear();
        continue;
      }
      echoes.stop();
      if (collection.status === "loading") markError(error);
      // The rows stay, and no call waits that could get the error. The end of the tide is no fault.
      else if (error.code !== "CLOSED") uncaught(error);
      return;
    }
  }
}

/** Options that the topic gives the collection. A caller without types may give them too, and they would be ignored. */
const OWN = ["sync", "onInsert", "onUpdate", "onDelete"];

/**
 * Options for createCollection(). Transactions are optimistic until their records are acknowledged and have come back;
 * one that fails is rolled back, with the TidemarkError.
 */
export function tidemarkCollectionOptions<T extends object, K extends Key = string>(
  config: TidemarkCollectionConfig<T, K>,
): CollectionConfig<T, K> {
  check(config && typeof config === "object", "config", "{ tide, topic, getKey }");
  const { tide: given, options, topic, getKey, ...rest } = config;
  const tide = tideSource(given, options);
  const definition = definitionOf(topic);
  check(typeof getKey === "function", "getKey", "a function");
  for (const name of OWN) check((rest as Record<string, unknown>)[name] === undefined, name, "none, the topic does it");
  const echoes = new Echoes();
  const sync = (params: SyncParams<T, K>): (() => void) => {
    const rows = new Rows<T, K>(getKey);
    let left = new AbortController();
    let followed: Tide | undefined;
    let hasEnded = false;
    const begin = (isAnew: boolean): void => {
      const { signal } = left;
      echoes.isRunning = true;
      const changesOf = async () => {
        const [opening, leave] = tide.whenOpen();
        return definition.of(await opening.finally(leave)).changes({ signal });
      };
      void follow(params, rows, echoes, { changesOf, signal, isAnew }).finally(() => (hasEnded = true));
    };
    const look = (): void => {
      const { tide: opened } = tide.current;
      if (!opened || opened === followed) return;
      const isAnew = followed !== undefined;
      followed = opened;
      // A follow that waits for the first opening goes on by itself, unless that opening has failed.
      if (!isAnew && !hasEnded) return;
      left.abort();
      left = new AbortController();
      begin(isAnew);
    };
    const leave = tide.subscribe(look);
    look();
    begin(false);
    return () => {
      left.abort();
      echoes.stop();
      leave();
    };
  };
  const persist = ({ transaction }: { readonly transaction: { readonly mutations: readonly PendingMutation<T>[] } }) =>
    echoes.after(async () => {
      const records = transaction.mutations.map(({ type, key, modified }) => ({
        key: String(key),
        value: type === "delete" ? null : modified,
      }));
      // A cleanup() meanwhile does not close the tide before the ack.
      const [opening, leave] = tide.whenOpen();
      try {
        return await definition.of(await opening).appendBatch(records);
      } finally {
        leave();
      }
    });
  return {
    ...rest,
    getKey,
    sync: { sync, rowUpdateMode: "full" },
    onInsert: persist,
    onUpdate: persist,
    onDelete: persist,
  };
}

export { defineTopic } from "./followers.ts";
export type { TopicDefinition, TopicRef } from "./followers.ts";
export type { TideOptions } from "./page-tide.ts";
