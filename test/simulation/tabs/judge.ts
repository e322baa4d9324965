/**
 * Judges a log at the end of a history: acked records must be there, each record once, and all tabs must read the same.
 */
export interface Ack {
  readonly offset: number;
  readonly duplicate: boolean;
  /** Only in a synced topic. */
  readonly committed?: Promise<{ readonly offset: number | undefined }>;
}
export interface Sent {
  readonly value: string;
  readonly tab: number;
  readonly order: number;
  /** The offset in its ack; undefined without an ack. */
  offset: number | undefined;
}
export interface Seen {
  readonly offset: number;
  readonly value: string;
}
export interface Evidence {
  readonly sent: readonly Sent[];
  readonly seen: readonly { readonly tab: number; readonly seen: readonly Seen[] }[];
  /** The whole log as each living tab read it, and as a new tab read it after all were closed. */
  readonly logs: readonly (readonly Seen[])[];
}

const short = (value: string | undefined): string => value?.split("x")[0] ?? "nothing";

export function judge({
  sent,
  seen,
  logs,
}: Evidence): { readonly check: string; readonly message: string } | undefined {
  const log = logs[0] ?? [];
  for (const other of logs) {
    const at = log.findIndex(({ offset, value }, i) => other[i]?.offset !== offset || other[i]?.value !== value);
    if (at >= 0 || other.length !== log.length)
      return {
        check: "inconsistent",
        message:
          `tabs disagree at ${at}: ${log.length} records and ${other.length}, ${short(log[at]?.value)} and ` +
          `${short(other[at]?.value)}`,
      };
  }
  const byValue = new Map(sent.map((each) => [each.value, each]));
  const found = new Set<string>();
  const orders = new Map<number, number>();
  for (const [at, { offset, value }] of log.entries()) {
    if (offset !== at) return { check: "offset", message: `record ${at} has offset ${offset}` };
    const from = byValue.get(value);
    if (!from) return { check: "phantom", message: `nobody sent ${short(value)} at ${offset}` };
    if (found.has(value)) return { check: "doubled", message: `${short(value)} is there twice, again at ${offset}` };
    found.add(value);
    if (from.order < (orders.get(from.tab) ?? 0))
      return {
        check: "order",
        message: `${short(value)} at ${offset} comes behind number ${orders.get(from.tab)} of its tab`,
      };
    orders.set(from.tab, from.order);
  }
  for (const { value, offset } of sent) {
    if (offset !== undefined && log[offset]?.value !== value)
      return {
        check: "lost",
        message:
          `${short(value)} was acked at ${offset}, where ${short(log[offset]?.value)} ` +
          `is${found.has(value) ? ", and it is elsewhere" : ""}`,
      };
  }
  for (const { tab, seen: read } of seen) {
    for (const [at, { offset, value }] of read.entries()) {
      if (offset !== at) return { check: "skip", message: `tab ${tab} read offset ${offset} after ${at - 1}` };
      if (log[at]?.value !== value)
        return {
          check: "unseen",
          message: `tab ${tab} read ${short(value)} at ${at}, where ${short(log[at]?.value)} is`,
        };
    }
  }
  return undefined;
}
