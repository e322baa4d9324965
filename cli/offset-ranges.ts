/** Ranges of offsets, each from its first offset to behind its last one. */
export type Range = readonly [from: number, to: number];

/** The same offsets, in order, and none twice. */
export function merged(ranges: readonly Range[]): Range[] {
  const all: [number, number][] = [];
  for (const [from, to] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const last = all.at(-1);
    if (to <= from) continue;
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else all.push([from, to]);
  }
  return all;
}

/** The offsets of `ranges` that are in none of `others`. */
export function without(ranges: readonly Range[], others: readonly Range[]): Range[] {
  const rest: Range[] = [];
  const taken = merged(others);
  for (const [from, to] of merged(ranges)) {
    let at = from;
    for (const [first, behind] of taken) {
      if (behind <= at || first >= to) continue;
      if (first > at) rest.push([at, first]);
      at = behind;
    }
    if (at < to) rest.push([at, to]);
  }
  return rest;
}
