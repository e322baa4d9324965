/**
 * Keeps the names of new files from being lost behind a torn one. Loaded before a volume that was there before gets its
 * first new slot.
 *
 * Chromium keeps the names of an origin's files in a LevelDB, and goes on in the log of that database when it starts
 * (its option reuse_logs). A browser that is killed between the two writes of a record, its head and its content,
 * leaves a head alone, and the next records follow it. The start after that drops all that follows in the same block of
 * the log: the names of all files that were made in between. Their bytes were flushed, but nobody finds them any more.
 * Seen in Chromium 156, twice in some 130 runs of five strikes while slots of 64 KiB were made.
 *
 *   block of 32 KiB                               the next block
 *   ┌────────────────┬──────────────┬───────────┐ ┌────────────────
 *   │ names          │ a torn record│ filling   │ │ new names
 *   └────────────────┴──────────────┴───────────┘ └────────────────
 *
 * Nobody can see a torn record. So more than a block is filled, with the names of folders that are removed at once:
 * some 50 KB and 30 ms of processor time, beside other work. Not protected are the names that a volume gets in the
 * visit that makes it, if the browser was killed while another volume or the app itself made a file before.
 */
const BLOCK_BYTES = 32 * 1024;
/** What is written of a folder has its name twice, and what is written of its removal once more; 255 are allowed. */
const NAME_CHARS = 240;
const FOLDERS = Math.ceil(BLOCK_BYTES / NAME_CHARS / 3) + 1;

/** What a tab leaves that ends in the middle is removed with what self-tests leave (stale-probes.ts). */
export async function fillBlock(): Promise<void> {
  const tides = await (await navigator.storage.getDirectory()).getDirectoryHandle("tidemark");
  const name = `.probe-${crypto.randomUUID()}`;
  const filling = await tides.getDirectoryHandle(name, { create: true });
  const names = Array.from({ length: FOLDERS }, (_, i) => String(i).padStart(NAME_CHARS, "-"));
  // What is refused, on a full disk, fills less. All that is made is removed.
  await Promise.allSettled(names.map((each) => filling.getDirectoryHandle(each, { create: true })));
  await tides.removeEntry(name, { recursive: true });
}
