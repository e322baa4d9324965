/** A table in order of last use, so that the entries that were unused for longest can be dropped. */

export class RecentMap<Key, Value> extends Map<Key, Value> {
  /** Puts an entry, new or replaced, and makes it the one that was used last. */
  put(key: Key, value: Value): void {
    this.delete(key);
    this.set(key, value);
  }

  /**
   * Drops entries while there are too many, those unused for longest first; pinned entries stay. `dropped` is called
   * with each.
   */
  dropWhile(
    isTooMany: () => boolean,
    dropped?: (value: Value, key: Key) => void,
    isPinned?: (key: Key) => boolean,
  ): void {
    for (const [key, value] of this) {
      if (!isTooMany()) return;
      if (isPinned?.(key)) continue;
      this.delete(key);
      dropped?.(value, key);
    }
  }

  dropAbove(max: number, dropped?: (value: Value, key: Key) => void, isPinned?: (key: Key) => boolean): void {
    this.dropWhile(() => this.size > max, dropped, isPinned);
  }
}
