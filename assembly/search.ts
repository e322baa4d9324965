/**
 * Greatest lower bound in a packed big-endian index: 8-byte entries by their int32 relative offset, 12-byte entries by
 * their int64 timestamp. Keys are compared as f64, so any number may be searched for, and NaN finds nothing.
 *
 *   entry   0 ……… low │ ……… middle ……… │ high ……… count        key(low) <= target < key(high)
 *                                                               low begins at -1, high at count
 */
import { load32, load64 } from "./batch";
import { IN, OFFSET_ENTRY_BYTES, STEPS, TIME_ENTRY_BYTES } from "./layout";

/** Probes of the search made last, in STEPS: 18 at most (2 MiB of 8-byte entries). */
let steps: i32 = 0;

/** Export. How many entry numbers STEPS holds. */
export function searchSteps(): i32 {
  return steps;
}

/** Export. Number of the entry, or -1, among `count` entries in IN. */
export function search(count: i32, isTime: i32, target: f64): i32 {
  steps = 0;
  let low = -1;
  let high = count;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    const key = isTime ? <f64>load64(IN + middle * TIME_ENTRY_BYTES) : <f64>load32(IN + middle * OFFSET_ENTRY_BYTES);
    store<i32>(STEPS + (steps++ << 2), middle);
    if (key <= target) low = middle;
    else high = middle;
  }
  return low;
}
