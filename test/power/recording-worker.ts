/**
 * The shipped worker with a recorder around it. Besides the calls on the storage it records what the log promises, at
 * the moment when the promise resolves in the worker: an ack is in the trace before it reaches the page.
 */
import { Recorder } from "./recorder.ts";
import { TidemarkError } from "../../src/errors.ts";
import { Log } from "../../src/log/log.ts";
import { readHeader } from "../../src/record/format.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import { SegmentedLog } from "../../src/store/segmented-log.ts";
import { type Ending, encodeTrace } from "./trace.ts";
import { openMarks } from "./marks.ts";
import "../../src/browser/worker/worker-entry.ts";

const recorder = new Recorder();
// Opened before the recorder wraps anything, because marks must not be recorded.
if (location.search === "?marks") void openMarks().then((mark) => (recorder.onEvent = mark));
recorder.install();

let sent = 0;
const { append } = Log.prototype;
Log.prototype.append = async function (batch, options) {
  const id = sent++;
  const appending = append.call(this, batch, options);
  // The log assigns offsets before the call returns, so the batch contains them by now.
  recorder.add({
    kind: "sent",
    log: this.name,
    id,
    acks: options?.acks ?? "flushed",
    data: batch.slice() as Uint8Array<ArrayBuffer>,
  });
  try {
    const result = await appending;
    if (result.duplicate || result.baseOffset !== readHeader(batch).baseOffset)
      recorder.add({ kind: "refused", log: this.name, id });
    else recorder.add({ kind: "ack", log: this.name, id, acks: result.acks, baseOffset: result.baseOffset });
    return result;
  } catch (thrown) {
    if (!(thrown instanceof TidemarkError && thrown.code === "OUTCOME_UNKNOWN"))
      recorder.add({ kind: "refused", log: this.name, id });
    throw thrown;
  }
};

const openLog = Log.open;
Log.open = async (options) => {
  const log = await openLog.call(Log, options);
  recorder.add({ kind: "opened", log: log.name, start: log.logStartOffset, end: log.logEndOffset });
  return log;
};

const { trim, replace } = SegmentedLog.prototype;
SegmentedLog.prototype.trim = async function (offset) {
  recorder.add({ kind: "trim", log: this.name, offset });
  await trim.call(this, offset);
  recorder.add({ kind: "trimmed", log: this.name, offset: this.logStartOffset });
};
SegmentedLog.prototype.replace = async function (from, to, outputs) {
  recorder.add({ kind: "replace", log: this.name, from, to, flushed: this.flushedOffset });
  await replace.call(this, from, to, outputs);
  recorder.add({ kind: "replaced", log: this.name, from, to, flushed: this.flushedOffset });
};

async function hand(how: Ending): Promise<void> {
  recorder.add({ kind: "end", how });
  await fetch("/trace", { method: "POST", body: encodeTrace(recorder.events) });
}

const { close } = SegmentStore.prototype;
SegmentStore.prototype.close = async function () {
  await close.call(this);
  if (!this.poisoned) await hand("closed");
};

const orders = new BroadcastChannel("recorder");
orders.onmessage = ({ data }) => {
  if (data === "die")
    void recorder
      .freeze()
      .then(() => hand("killed"))
      .then(() => orders.postMessage("dead"));
};
