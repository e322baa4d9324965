/**
 * The page of every app that the suite builds. It imports the package as its users do; `window.tab` is what the suite
 * calls. Plain JavaScript, so that each bundler takes it as it is.
 */
import { open, TidemarkError } from "tidemark/browser";

const PACE_MS = 5;
/** The same in every tab: milliseconds of the machine's clock. */
const now = () => performance.timeOrigin + performance.now();

/** Of an app whose bundler leaves the package's files where they are. */
const { tideOptions = {} } = globalThis;

let tide;
let topic;
let tab;
let sent = 0;
let resting = true;
let writing = Promise.resolve();
const changes = [];
const acks = [];
const failures = [];

/** Timers of a hidden page run once a second; a worker's do not. */
const pacer = new Worker(URL.createObjectURL(new Blob(["onmessage = ({ data }) => setTimeout(postMessage, data, 0)"])));
const pace = () =>
  new Promise((resolve) => {
    pacer.onmessage = resolve;
    pacer.postMessage(PACE_MS);
  });

async function write() {
  while (!resting) {
    const value = `${tab}/${sent++}`;
    try {
      const { offset } = await topic.append({ key: String(tab), value });
      acks.push({ value, offset, at: now() });
    } catch (thrown) {
      if (thrown.code === "CLOSED" && resting) return;
      failures.push(`${value}: ${thrown}`);
      return;
    }
    await pace();
  }
}

async function valuesOf(reading) {
  const found = [];
  for await (const { value } of reading) found.push(value);
  return found;
}

async function useEngine(name, engine) {
  const first = await open(name, { engine, ...tideOptions });
  const orders = first.topic("orders");
  const { offset } = await orders.append({ key: "o-17", value: { total: 42 }, headers: { trace: "a1" } });
  await Promise.all(Array.from({ length: 1000 }, (_, i) => orders.append({ key: "k", value: { total: i } })));
  const sum = (await valuesOf(orders.read({ from: "earliest" }))).reduce((total, value) => total + value.total, 0);
  const packed = first.topic("packed", { codec: "gzip", serializer: "text", compaction: true });
  for (let i = 0; i < 50; i++) await packed.append({ key: "same", value: "x".repeat(500) });
  await packed.roll();
  await packed.clean();
  const left = (await valuesOf(packed.read())).length;
  const refused = await orders.append({ value: { total: 1 } }, { ifEnd: 0 }).catch((thrown) => thrown);
  const code = refused instanceof TidemarkError ? refused.code : "not typed";
  const { engine: used } = first.storage;
  await first.close();
  const again = await open(name, { engine, ...tideOptions });
  const { highWatermark } = await again.topic("orders").state();
  await again.close();
  return { offset, sum, left, code, engine: used, highWatermark };
}

window.tab = {
  async open(config) {
    tab = config.tab;
    tide = await open(config.name, { engine: config.engine, ...tideOptions });
    tide.on((event) => {
      if (event.type === "leaderchange") changes.push(now());
    });
    topic = tide.topic("orders");
  },
  work() {
    resting = false;
    writing = write();
  },
  async rest() {
    resting = true;
    await writing;
  },
  close() {
    resting = true;
    return tide.close();
  },
  state: () => ({
    role: tide.role,
    changes,
    acks,
    failures,
    visible: document.visibilityState === "visible",
    engine: tide.storage.engine,
  }),
  /** When this tab's next ack from a leader that came after `since` was there. */
  ackAfter(since) {
    const change = changes.find((at) => at > since);
    return change === undefined ? undefined : acks.find(({ at }) => at > change)?.at;
  },
  readAll: () => valuesOf(topic.read()),
  standBys: async () =>
    (await navigator.locks.query()).held.filter(({ name }) => name.startsWith("tidemark-spare:")).length,
  use: async (name) => ({
    opfs: await useEngine(`${name}-opfs`, "opfs"),
    indexeddb: await useEngine(`${name}-idb`, "indexeddb"),
  }),
};
document.title = "ready";
