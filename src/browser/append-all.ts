/** Appending a whole iterable: the source is pulled as fast as acks come in. Loaded when it is first done. */
import type { Ack, Producer } from "../delivery/producer.ts";
import type { AppendAllOptions } from "./api.ts";

/** Records after which a source that never waits makes room for acks and the page's own work. */
const PROGRESS_RECORDS = 4096;

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(0);
  });
}

/** Resolves when everything is acked; rejects with the first failure, with all before it acked or failed. */
export async function appendAll<Record>(
  records: Iterable<Record> | AsyncIterable<Record>,
  append: (record: Record) => Promise<Ack>,
  producer: Producer,
  inFlightBytesMax: number,
  { signal, onProgress }: AppendAllOptions,
) {
  let appended = 0;
  let acked = 0;
  let firstOffset: number | undefined;
  let lastOffset: number | undefined;
  let failure: { readonly thrown: unknown } | undefined;
  const count = ({ offset }: Ack) => {
    acked++;
    firstOffset = Math.min(firstOffset ?? offset, offset);
    lastOffset = Math.max(lastOffset ?? offset, offset);
  };
  for await (const record of records) {
    signal?.throwIfAborted();
    if (failure) break;
    append(record).then(count, (thrown: unknown) => (failure ??= { thrown }));
    const full = producer.pendingBytes >= inFlightBytesMax;
    if (++appended % PROGRESS_RECORDS > 0 && !full) continue;
    // The producer's limit holds this loop back; each time it does is a time to tell how far we are.
    await (full ? producer.drained(inFlightBytesMax) : nextTurn());
    onProgress?.({ appended, acked });
  }
  await producer.drained();
  if (failure) throw failure.thrown;
  onProgress?.({ appended, acked });
  return { appended, firstOffset, lastOffset };
}
