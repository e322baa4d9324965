/**
 * Work that mostly waits for a limit of the library's. It begins when its file is loaded and goes on beside the file's
 * other tests, so it must not matter to it what they do. The returned function resolves or rejects as it does.
 */
export function meanwhile<T>(work: () => Promise<T>): () => Promise<T> {
  const done = work();
  // It may fail before anybody waits for it.
  done.catch(() => undefined);
  return () => done;
}
