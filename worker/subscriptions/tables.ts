/**
 * The tables of a tenant's subscriptions: which streams there are, who subscribes, how far each has acknowledged.
 *
 *   stream        path PK │ tail
 *   identity      path PK │ id of the stream that is there: a stream made again under the path has another id and
 *                 begins at its beginning
 *   subscription  id PK   │ config, state (JSON): generation, wake, lease, retry
 *   link          subscription, path PK │ explicit, glob │ acked (offset behind the last acknowledged record)
 *   refused       subscription PK │ streams that matched its pattern when there was no room for them
 */
import type { SqlStorage } from "@cloudflare/workers-types";
import type { SubscriptionConfig } from "./config.ts";
import { IDLE, type SubscriptionState } from "./life.ts";

export interface Subscription {
  readonly id: string;
  readonly config: SubscriptionConfig;
  readonly origin: string;
  readonly createdAt: string;
  state: SubscriptionState;
}

export interface Link {
  readonly path: string;
  readonly isExplicit: boolean;
  readonly isGlob: boolean;
  readonly acked: number;
  readonly tail: number;
}

const SCHEMA = [
  "CREATE TABLE IF NOT EXISTS stream(path TEXT PRIMARY KEY, tail INTEGER NOT NULL) WITHOUT ROWID",
  "CREATE TABLE IF NOT EXISTS identity(path TEXT PRIMARY KEY, id TEXT NOT NULL) WITHOUT ROWID",
  "CREATE TABLE IF NOT EXISTS subscription(id TEXT PRIMARY KEY, config TEXT NOT NULL, origin TEXT " +
    "NOT NULL, created_at TEXT NOT NULL, state TEXT NOT NULL) WITHOUT ROWID",
  `CREATE TABLE IF NOT EXISTS link(path TEXT NOT NULL, subscription TEXT NOT NULL,
     explicit INTEGER NOT NULL, glob INTEGER NOT NULL, acked INTEGER NOT NULL,
     PRIMARY KEY (path, subscription)) WITHOUT ROWID`,
  "CREATE INDEX IF NOT EXISTS link_of ON link(subscription)",
  "CREATE TABLE IF NOT EXISTS refused(subscription TEXT PRIMARY KEY, streams INTEGER NOT NULL) WITHOUT ROWID",
  "CREATE TABLE IF NOT EXISTS secret(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
];
const UNDER_WAY = "json_extract(subscription.state, '$.phase') <> 'idle'";
type Value = string | number | null;

export class SubscriptionStore {
  constructor(readonly sql: SqlStorage) {
    for (const statement of SCHEMA) this.#run(statement);
  }

  #run(query: string, ...bindings: Value[]): Record<string, Value>[] {
    return this.sql.exec(query, ...bindings).toArray() as Record<string, Value>[];
  }

  secret(name: string): string | undefined {
    return this.#run("SELECT value FROM secret WHERE name = ?", name)[0]?.["value"] as string | undefined;
  }
  saveSecret(name: string, value: string): void {
    this.#run("INSERT OR REPLACE INTO secret VALUES (?, ?)", name, value);
  }

  setTail(path: string, tail: number): void {
    this.#run("INSERT INTO stream VALUES (?, ?) ON CONFLICT DO UPDATE SET tail = max(tail, excluded.tail)", path, tail);
  }
  removeStream(path: string): void {
    this.#run("DELETE FROM stream WHERE path = ?", path);
    this.#run("DELETE FROM identity WHERE path = ?", path);
    this.#run("DELETE FROM link WHERE path = ? AND explicit = 0", path);
    this.#run("UPDATE link SET acked = 0 WHERE path = ?", path);
  }
  /** Undefined if there is no stream, or if it was reported by a version without identities. */
  identity(path: string): string | undefined {
    return this.#run("SELECT id FROM identity WHERE path = ?", path)[0]?.["id"] as string | undefined;
  }
  setIdentity(path: string, id: string): void {
    this.#run("INSERT OR REPLACE INTO identity VALUES (?, ?)", path, id);
  }
  tail(path: string): number | undefined {
    return this.#run("SELECT tail FROM stream WHERE path = ?", path)[0]?.["tail"] as number | undefined;
  }
  /** The paths behind `after` of all streams, in the order of their UTF-8 bytes. At most `limit`. */
  pathsAfter(after: string, limit: number): string[] {
    const query = "SELECT path FROM stream WHERE path > ? ORDER BY path LIMIT ?";
    return this.#run(query, after, limit).map((row) => String(row["path"]));
  }
  paths(): string[] {
    return this.#run("SELECT path FROM stream").map((row) => String(row["path"]));
  }

  create(id: string, config: SubscriptionConfig, origin: string, createdAt: string): Subscription {
    // An earlier version did not delete the links of deleted subscriptions.
    this.remove(id);
    this.#run(
      "INSERT INTO subscription VALUES (?, ?, ?, ?, ?)",
      id,
      JSON.stringify(config),
      origin,
      createdAt,
      JSON.stringify(IDLE),
    );
    return { id, config, origin, createdAt, state: IDLE };
  }
  get(id: string): Subscription | undefined {
    return this.#run("SELECT * FROM subscription WHERE id = ?", id).map(subscriptionOf)[0];
  }
  hasSubscriptions(): boolean {
    return this.#run("SELECT 1 FROM subscription LIMIT 1").length > 0;
  }
  count(): number {
    return Number(this.#run("SELECT count(*) AS n FROM subscription")[0]!["n"]);
  }
  /** Subscriptions whose time is up. Rows may be large, so each is read whole later, one at a time. */
  due(now: number): string[] {
    const query = `SELECT id FROM subscription WHERE ${UNDER_WAY} AND json_extract(state, '$.until') <= ?`;
    return this.#run(query, now).map((row) => String(row["id"]));
  }
  /** Idle subscriptions with work to do: waking somebody failed. */
  missed(): string[] {
    const query = `SELECT id FROM subscription WHERE NOT ${UNDER_WAY} AND EXISTS
      (SELECT 1 FROM link JOIN stream USING (path) WHERE link.subscription = subscription.id AND tail > acked)`;
    return this.#run(query).map((row) => String(row["id"]));
  }
  /** The earliest time after `now`; undefined if there is none. */
  nextAfter(now: number): number | undefined {
    const query =
      `SELECT min(json_extract(state, '$.until')) AS next FROM subscription WHERE ${UNDER_WAY} AND ` +
      "json_extract(state, '$.until') > ?";
    return (this.#run(query, now)[0]?.["next"] as number | null) ?? undefined;
  }
  /** Subscriptions with a pattern. */
  patterns(): { readonly id: string; readonly pattern: string; readonly wakeStream: string | null }[] {
    const query = `SELECT id, json_extract(config, '$.pattern') AS pattern,
      json_extract(config, '$.wakeStream') AS wake_stream
      FROM subscription WHERE json_extract(config, '$.pattern') IS NOT NULL`;
    return this.#run(query).map((row) => ({
      id: String(row["id"]),
      pattern: String(row["pattern"]),
      wakeStream: row["wake_stream"] as string | null,
    }));
  }
  /** Wake streams of the subscriptions that are linked to the stream by name, whether it exists or not. */
  wakeStreamsOf(path: string): string[] {
    const query = `SELECT DISTINCT json_extract(config, '$.wakeStream') AS wake_stream
      FROM link JOIN subscription ON subscription.id = link.subscription
      WHERE path = ? AND explicit = 1 AND json_extract(config, '$.wakeStream') IS NOT NULL`;
    return this.#run(query, path).map((row) => String(row["wake_stream"]));
  }
  /** Subscriptions whose current wake names records of the stream. */
  wokenFor(path: string): string[] {
    const query = `SELECT subscription.id FROM subscription, json_each(subscription.state, '$.snapshot') AS named
      WHERE named.key = ? AND named.value > 0 AND ${UNDER_WAY}`;
    return this.#run(query, path).map((row) => String(row["id"]));
  }
  save({ id, state }: Subscription): void {
    this.#run("UPDATE subscription SET state = ? WHERE id = ?", JSON.stringify(state), id);
  }
  remove(id: string): void {
    this.#run("DELETE FROM subscription WHERE id = ?", id);
    this.#run("DELETE FROM link WHERE subscription = ?", id);
    this.#run("DELETE FROM refused WHERE subscription = ?", id);
  }

  link(id: string, path: string, kind: "explicit" | "glob", acked: number): void {
    const [explicit, glob] = kind === "explicit" ? [1, 0] : [0, 1];
    this.#run(
      "INSERT INTO link VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET explicit = max(explicit, " +
        "excluded.explicit), glob = max(glob, excluded.glob)",
      path,
      id,
      explicit,
      glob,
      acked,
    );
  }
  unlinkExplicit(id: string, path: string): void {
    this.#run("DELETE FROM link WHERE path = ? AND subscription = ? AND glob = 0", path, id);
    this.#run("UPDATE link SET explicit = 0 WHERE path = ? AND subscription = ?", path, id);
  }
  links(id: string): Link[] {
    const query =
      "SELECT link.*, coalesce(stream.tail, 0) AS tail FROM link LEFT JOIN stream USING (path) WHERE " +
      "subscription = ? ORDER BY path";
    return this.#run(query, id).map((row) => ({
      path: String(row["path"]),
      isExplicit: row["explicit"] === 1,
      isGlob: row["glob"] === 1,
      acked: Number(row["acked"]),
      tail: Number(row["tail"]),
    }));
  }
  linkedPaths(id: string): string[] {
    return this.#run("SELECT path FROM link WHERE subscription = ?", id).map((row) => String(row["path"]));
  }
  /** A stream with records that are not acknowledged. */
  pendingPath(id: string): string | undefined {
    const query =
      "SELECT path FROM link JOIN stream USING (path) WHERE subscription = ? AND tail > acked ORDER BY path LIMIT 1";
    return this.#run(query, id)[0]?.["path"] as string | undefined;
  }
  countRefused(id: string): void {
    this.#run("INSERT INTO refused VALUES (?, 1) ON CONFLICT DO UPDATE SET streams = streams + 1", id);
  }
  refused(id: string): number {
    return Number(this.#run("SELECT streams FROM refused WHERE subscription = ?", id)[0]?.["streams"] ?? 0);
  }
  subscribersOf(path: string): string[] {
    return this.#run("SELECT subscription FROM link WHERE path = ?", path).map((row) => String(row["subscription"]));
  }
  ack(id: string, path: string, offset: number): void {
    this.#run("UPDATE link SET acked = max(acked, ?) WHERE path = ? AND subscription = ?", offset, path, id);
  }
}

function subscriptionOf(row: Record<string, Value>): Subscription {
  return {
    id: String(row["id"]),
    config: JSON.parse(String(row["config"])) as SubscriptionConfig,
    origin: String(row["origin"]),
    createdAt: String(row["created_at"]),
    state: JSON.parse(String(row["state"])) as SubscriptionState,
  };
}
