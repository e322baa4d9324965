/**
 * One stream's numbers as Prometheus text: counters since the object woke (a scraper can handle resets), and gauges
 * from its tables. Asking wakes the object, so a scrape each minute keeps it awake for some seconds of it.
 */
import type { Sql } from "../store/sql.ts";
import type { Stream } from "../stream/stream.ts";
import type { Counters } from "../telemetry/counters.ts";

const HELP: Readonly<Record<string, string>> = {
  requests: "Requests that reached the object",
  appends: "Appends taken",
  append_bytes: "Bytes of their bodies",
  duplicates: "Appends that were repeats",
  reads: "Reads and follows",
  delivered_bytes: "Bytes of batches sent over WebSockets",
  commits: "Group commits",
  seals: "Segments sealed",
  archived: "Segments moved to object storage",
  archive_failures: "Runs of the archiver that failed",
  rejections: "Requests refused",
  compacted_records: "Records that compaction took",
  joins: "Joins, refused ones too",
  pushes: "Pushes taken; they count as appends too",
  push_conflicts: "Pushes refused",
  claims: "Pushes that took an outbox over",
};

const snake = (name: string): string => name.replace(/[A-Z]/g, (char) => `_${char.toLowerCase()}`);
const label = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");

export interface Gauges {
  readonly databaseBytes: number;
  readonly watchers: number;
  readonly sockets: number;
}

export function prometheus(
  stream: Stream,
  counters: Counters,
  sql: Sql,
  { databaseBytes, watchers, sockets }: Gauges,
): Response {
  const one = (query: string): Record<string, unknown> => [...sql.exec(query)][0] ?? {};
  const rows = one("SELECT count(*) AS n, total(length(bytes)) AS bytes FROM chunk");
  const archive = (state: number): number =>
    Number(one(`SELECT count(*) AS n FROM archive WHERE state = ${state}`)["n"]);
  const lag = one(
    "SELECT total(bytes) AS bytes FROM segment WHERE base_offset NOT IN (SELECT " +
      "base_offset FROM archive WHERE state = 1)",
  );
  const segments = stream.log.segments();
  const told = Number(one("SELECT max(written_at) AS at FROM chunk")["at"] ?? 0);
  const labels = `{tenant="${label(stream.config.tenant)}",path="${label(stream.config.path)}"}`;
  const lines: string[] = [];
  const line = (type: string, name: string, help: string, value: number): void => {
    lines.push(
      `# HELP tidemark_${name} ${help}`,
      `# TYPE tidemark_${name} ${type}`,
      `tidemark_${name}${labels} ${value}`,
    );
  };
  for (const [name, value] of Object.entries(counters))
    line("counter", `${snake(name)}_total`, HELP[snake(name)] ?? name, value as number);
  line("gauge", "log_start_offset", "First offset", stream.start);
  line("gauge", "log_end_offset", "Offset of the next record", stream.tail);
  line(
    "gauge",
    "records",
    "Readable records",
    segments.reduce((sum, { records }) => sum + records, 0),
  );
  line(
    "gauge",
    "log_bytes",
    "Bytes of batches, wherever they lie",
    segments.reduce((sum, { bytes }) => sum + bytes, 0),
  );
  line("gauge", "segments", "Segments", segments.length);
  line("gauge", "quarantined_ranges", "Damaged ranges", stream.log.quarantined().length);
  line("gauge", "rows", "Rows of batches in the database", Number(rows["n"]));
  line("gauge", "row_bytes", "Bytes in them", Number(rows["bytes"]));
  line("gauge", "database_bytes", "Size of the object's database", databaseBytes);
  line("gauge", "objects", "Segments in object storage", archive(1));
  line("gauge", "objects_begun", "Puts under way or cut off", archive(0));
  line("gauge", "objects_doomed", "Objects to be deleted", archive(2));
  line("gauge", "archive_lag_bytes", "Bytes of sealed segments in rows", Number(lag["bytes"]));
  line("gauge", "watchers", "Sockets of Workers", watchers);
  line("gauge", "sockets", "WebSockets of clients", sockets);
  line("gauge", "outboxes", "Outboxes registered", Number(one("SELECT count(*) AS n FROM outbox")["n"]));
  line("gauge", "outboxes_in_memory", "Of them, those in memory", stream.outboxes.count);
  line("gauge", "forks", "Forks that read from here", stream.forks.paths.length);
  line("gauge", "last_commit_seconds", "When the newest commit was written", told / 1000);
  return new Response(`${lines.join("\n")}\n`, {
    headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8", "cache-control": "no-store" },
  });
}
