/**
 * A page of the end-to-end tests of sync: opens a tide, writes by itself or when it is told to, reports to a ledger
 * outside, and says what it sees.
 */
import {
  open,
  type Serializer,
  type SyncEvent,
  type Tide,
  TidemarkError,
  type Topic,
} from "../../../src/browser/index.ts";
import { Wire } from "../../crash/page/wire.ts";
import { digestOf } from "../digest.ts";
import { Examples, type Shown } from "./examples.ts";
import { measures } from "./measures.ts";
import { type Brief, type DeviceConfig, type Held, type SyncNote, TOPIC } from "../events.ts";

const wire = new Wire(1, crypto.randomUUID());
const tell = (note: SyncNote): Promise<void> => wire.tell({ type: "note", note });
const codeOf = (thrown: unknown): string => (thrown instanceof TidemarkError ? thrown.code : String(thrown));

let config: DeviceConfig;
let tide: Tide;
let topic: Topic<string>;
let sent = 0;
let unanswered = 0;
let unplaced = 0;
let resting = true;
let closed: string | undefined;
let writing: Promise<void> = Promise.resolve();
const places: (number | undefined)[] = [];
const fates = new Map<number, Promise<string>>();
const events: SyncEvent[] = [];
let asked = 0;
let restored = 0;
addEventListener("pageshow", (event) => (restored += event.persisted ? 1 : 0));
let examples: Examples;

/** Timers of a hidden page run once a second; a worker's do not. */
const pacer = new Worker(URL.createObjectURL(new Blob(["onmessage = ({ data }) => setTimeout(postMessage, data, 0)"])));
const pause = (ms: number): Promise<unknown> =>
  new Promise((resolve) => {
    pacer.onmessage = resolve;
    pacer.postMessage(ms);
  });

async function tokenFrom(url: string): Promise<string | null> {
  asked++;
  const response = await fetch(url);
  if (!response.ok) throw new Error(`no token: ${response.status}`);
  return (await response.json()) as string | null;
}

/** Writes values down in the ledger, appends them, and writes down each ack, then each place at the edge. */
async function append(values: readonly string[]): Promise<number[]> {
  await tell({ sent: values, by: config.name });
  unanswered += values.length;
  try {
    const acks = await Promise.all(values.map((value) => topic.append({ key: config.name, value })));
    const offsets = acks.map(({ offset }) => offset);
    unplaced += values.length;
    for (const [i, { committed }] of acks.entries())
      void committed
        .then(
          ({ offset }) => {
            places.push(offset);
            return tell({ committed: values[i]!, offset });
          },
          (thrown: unknown) => tell({ uncommitted: values[i]!, code: codeOf(thrown) }),
        )
        .finally(() => unplaced--);
    await tell({ acked: values, offsets });
    return offsets;
  } catch (thrown) {
    await tell({ refused: values, code: codeOf(thrown), message: String(thrown) });
    throw thrown;
  } finally {
    unanswered -= values.length;
  }
}

async function work(): Promise<void> {
  while (!resting) {
    const values = Array.from({ length: 1 + (sent % 4) }, () => `${config.name}-${sent++}`);
    try {
      await append(values);
    } catch (thrown) {
      if (codeOf(thrown) === "CLOSED") return;
    }
    await pause(config.pauseMs ?? 100);
  }
}

/** What an application may get wrong: it says that its values are JSON, and some are not. */
const ODD: Serializer<string> = {
  serialize: (value) => new TextEncoder().encode(value.startsWith("{") ? value : JSON.stringify(value)),
  deserialize(bytes) {
    const text = new TextDecoder().decode(bytes);
    return text.startsWith("{") ? text : (JSON.parse(text) as string);
  },
};

export const page = {
  ...measures(() => ({ tide, topic: topic as Topic<unknown> as Topic<Uint8Array> })),

  /** Opens the tide; with an edge, keeps the topic in step with it. */
  async open(given: DeviceConfig): Promise<string> {
    config = given;
    const {
      edge,
      path,
      tokens,
      engine,
      leaderTimeoutMs,
      database = "sync-test",
      serializer,
      odd,
      segmentBytes = 64 * 1024,
    } = given;
    tide = await open(database, {
      segmentBytes,
      ...(engine && { engine }),
      ...(leaderTimeoutMs !== undefined && { leaderTimeoutMs }),
      ...(edge !== undefined && {
        sync: {
          url: edge,
          topics: { [TOPIC]: { path, ...(odd ? { serializer: "json" } : serializer && { serializer }) } },
          ...(tokens && { token: () => tokenFrom(tokens) }),
        },
      }),
    });
    topic = tide.topic<string>(TOPIC, { ...(odd ? { serializer: ODD } : serializer && { serializer }) });
    tide.on((event) => {
      if (event.type === "closed") closed = event.reason;
    });
    tide.syncing?.on((event) => {
      if (event.type === "status") return;
      events.push(event);
      // Every tab hears of it; one report is enough.
      if (tide.role === "leader") void tell({ event: event.type, by: config.name, details: event });
    });
    return tide.role;
  },

  /** Milliseconds until the tide is open and the topic's last record is read. */
  async openTimed(given: DeviceConfig): Promise<number> {
    const started = performance.now();
    await page.open(given);
    let found = 0;
    for await (const _ of topic.read({ from: { last: 1 } })) found++;
    if (found !== 1) throw new Error(`${found} records were read`);
    return performance.now() - started;
  },

  /** Writes until `rest`. */
  work() {
    if (!resting) return;
    resting = false;
    writing = work();
  },
  async rest(): Promise<void> {
    resting = true;
    await writing;
  },

  /** Resolves with the offsets of the acks: durable here, with or without a network. */
  write: (name: string, from: number, count: number): Promise<number[]> =>
    append(Array.from({ length: count }, (_, i) => `${name}-${from + i}`)),
  async writeThrough(value: string): Promise<number> {
    const { offset, acks } = await topic.append({ key: "through", value }, { acks: "replicated" });
    return acks === "replicated" ? offset : -1;
  },

  async level(): Promise<void> {
    await tide.syncing!.drained();
    await tide.syncing!.caughtUp();
  },
  /** Resolves when nothing waits here, and this device holds all below `end`. */
  async holds(end: number): Promise<void> {
    const sync = tide.syncing!;
    const isThere = (): boolean => {
      const own = sync.status.topics[TOPIC];
      return own !== undefined && own.pending.records === 0 && own.watermark >= end;
    };
    await new Promise<void>((resolve) => {
      if (isThere()) return resolve();
      const leave = sync.subscribe(() => {
        if (!isThere()) return;
        leave();
        resolve();
      });
    });
  },

  /** Committed records, by offset. */
  async read(): Promise<[number, string][]> {
    const found: [number, string][] = [];
    for await (const { offset, value } of topic.read()) found.push([offset, value!]);
    return found;
  },
  async held(): Promise<Held> {
    const found = await page.read();
    return { records: found.length, firstOffset: found[0]?.[0] ?? -1, digest: await digestOf(found) };
  },
  /** Everything that is seen here: committed, then what has no place at the edge yet. */
  async seen(): Promise<string[]> {
    const found: string[] = [];
    for await (const { value } of topic.read({ isolation: "provisional" })) found.push(value!);
    return found;
  },

  /** Syncs the topics of the worked examples, and begins their views. */
  async startExamples(): Promise<void> {
    const { edge, path, tokens } = config;
    const topics = Object.fromEntries(["titles", "stock", "tags"].map((name) => [name, { path: `${path}-${name}` }]));
    await tide.sync({ url: edge!, topics, ...(tokens && { token: () => tokenFrom(tokens) }) });
    examples = new Examples(tide);
  },
  example: <M extends "rename" | "count" | "tag" | "untag">(what: M, ...args: Parameters<Examples[M]>) =>
    (examples[what] as (...all: readonly unknown[]) => Promise<unknown>)(...args),
  shows: (wanted: Shown) => examples.shows(wanted),
  settled: () => examples.settled(),
  told: () => examples.told,
  statusOf: (id: string) => tide.topic("titles").statusOf(id),

  brief: (): Brief => ({ role: tide.role, status: tide.syncing?.status, unanswered, unplaced, closed, restored }),
  status: () => tide.syncing?.status,
  storage: () => tide.storage,
  events: () => events,
  asked: () => asked,
  places: () => places,
  topics: () => tide.topics(),
  deletes: () => tide.deleteTopic(TOPIC),
  /** A record with a header of this name. */
  async writeMarked(value: string, header: string): Promise<number> {
    return (await topic.append({ key: value, value, headers: { [header]: "1" } })).offset;
  },
  /** A record that the edge refuses, where the page was opened as `odd`. Its fate is asked for later. */
  async writeOdd(value: string): Promise<number> {
    const ack = await topic.append({ key: value, value });
    fates.set(
      ack.offset,
      ack.committed.then(
        () => "committed",
        (thrown: unknown) => codeOf(thrown),
      ),
    );
    return ack.offset;
  },
  fateOf: (offset: number) => fates.get(offset),
  /** Resolves once the status has this state. */
  async becomes(state: string): Promise<void> {
    const sync = tide.syncing!;
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (sync.status.state !== state) return;
        leave();
        resolve();
      };
      const leave = sync.subscribe(look);
      look();
    });
  },
  /** A view that counts records, opened, saved and closed: what it shows, and how many records it applied. */
  async counted(): Promise<[shown: number, applied: number]> {
    let applied = 0;
    const view = topic.view<number>({
      name: "count",
      initial: () => 0,
      apply: (count) => (applied++, count + 1),
      snapshot: {},
    });
    await view.ready();
    await view.save();
    const { current } = view;
    view.close();
    return [current, applied];
  },
  unblock: (choice: "retry" | "setAside" | "discard") => tide.syncing!.unblock(TOPIC, choice),
  /** The code of the refusal; "" if there was none. */
  detach: (force: boolean): Promise<string> =>
    tide.syncing!.detach(TOPIC, { force }).then(
      () => "",
      (thrown: unknown) => codeOf(thrown),
    ),
  /** Records of a local topic: the key that they had, the value, and why they are there. */
  async asideOf(name: string): Promise<[key: string, value: string, code: string][]> {
    const text = (bytes: Uint8Array | string | null | undefined): string =>
      typeof bytes === "string" ? bytes : new TextDecoder().decode(bytes ?? undefined);
    const found: [string, string, string][] = [];
    for await (const { value, headers } of tide.topic<string>(name, { serializer: ODD }).read())
      found.push([text(headers["aside.key"]), value!, text(headers["aside.code"])]);
    return found;
  },
  pause: () => tide.syncing!.pause(),
  resume: () => tide.syncing!.resume(),
  authenticate: () => tide.syncing!.authenticate(),
  close: () => tide.close(),
};
export type SyncPage = typeof page;

Object.assign(window, { tab: page });
document.title = "ready";
