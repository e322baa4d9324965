/**
 * Many streams on one workerd: how fast they are made with a record each, what one in use takes of memory and open
 * files, and what is left when they sleep (in memory, where syncs are free); and on disk, how many appends 64 writers
 * make into one stream and into a hundred. Each stream is a database file of its own, so no two share a sync.
 */
import { openFiles, residentMiB } from "./contenders.ts";
import { note, number, type Workload } from "./contest.ts";
import { AppendLoad, create } from "./load.ts";

/** Three files for each stream, and some for connections and the program itself. */
const FILES_PER_STREAM = 3;
const FILES_ELSE = 1_000;
const MAKERS = 16;
/** Memory and open files are looked at once per so many streams. */
const LOOK_EVERY = 50;
const SPREAD = 100;

const record = "x".repeat(100);
const TYPE = { "content-type": "text/plain" };

/** Makes streams until one is refused, or all are there. Returns how many there are. */
async function make(
  url: string,
  streams: number,
  onMade: () => void,
): Promise<{ readonly made: number; readonly refusal: string }> {
  let [next, made, refusal] = [0, 0, ""];
  await Promise.all(
    Array.from({ length: MAKERS }, async () => {
      while (next < streams && refusal === "") {
        const response = await fetch(`${url}/v1/stream/many/${next++}`, { method: "PUT", headers: TYPE, body: record });
        const text = await response.text();
        if (response.status === 201) made++;
        else refusal = `${response.status} ${text.slice(0, 200)}`;
        if (made % LOOK_EVERY === 0) onMade();
      }
    }),
  );
  return { made, refusal };
}

const manyStreams: Workload = async (result, size, contenders) => {
  const filesMax = size.streams * FILES_PER_STREAM + FILES_ELSE;
  const worker = await contenders.worker("streams", [], false, { filesMax, inMemory: true });
  const pid = worker.pid!;
  const [memory, files] = [residentMiB(pid), openFiles(pid)];
  const started = performance.now();
  const most = { memory, files };
  const { made, refusal } = await make(worker.url, size.streams, () => {
    most.memory = Math.max(most.memory, residentMiB(pid));
    most.files = Math.max(most.files, openFiles(pid));
  });
  const seconds = (performance.now() - started) / 1_000;
  if (refusal !== "") note(`refused after ${made} streams: ${refusal}`);
  Object.assign(result.figures, {
    "streams.made": made,
    "streams.madePerSecond": made / seconds,
    "streams.most.residentGrowthMiB": most.memory - memory,
    "streams.most.openFiles": most.files - files,
  });
  await new Promise((resolve) => setTimeout(resolve, size.asleepMs));
  result.figures["streams.asleep.residentGrowthMiB"] = residentMiB(pid) - memory;
  result.figures["streams.asleep.openFiles"] = openFiles(pid) - files;
  await worker.kill();
};

const syncs: Workload = async (result, size, contenders) => {
  const worker = await contenders.worker("streams-syncs");
  for (const streams of [1, SPREAD]) {
    const addresses = Array.from({ length: streams }, (_, i) => `${worker.url}/v1/stream/spread/${streams}/${i}`);
    for (const address of addresses) await create(address);
    const loads = Array.from({ length: 64 }, (_, i) => new AppendLoad(addresses[i % streams]!, 1, 1_024));
    await Promise.all(loads.map((load) => load.run(size.appendMs / 4, false)));
    await Promise.all(loads.map((load) => load.run(size.appendMs / 2)));
    const rate = loads.reduce((sum, load) => sum + load.rate, 0);
    for (const load of loads) load.end();
    result.figures[`streams.append64.over${streams}.appendsPerSecond`] = rate;
    note(`64 writers over ${streams} streams: ${number(rate)} appends/s`);
  }
};

export const STREAMS: Readonly<Record<string, Workload>> = { streams: manyStreams, streams_syncs: syncs };
