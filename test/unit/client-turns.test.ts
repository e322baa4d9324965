/**
 * Each call of the client, ended in every turn of its way: by close(), by the client's signal, by its own signal, by
 * return(), and by two of these at once. Its promises settle with a code that says so, nothing goes on, nobody listens
 * to a signal any more, and what was CLOSED is not in the log.
 */
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type ClientTopic, connect, type EdgeClient } from "../../src/client/index.ts";
import { inEveryTurn, KeptSignal, type Outcome, outcomeOf, settledTurn, type Trial } from "../support/every-turn.ts";
import { TurnsEdge } from "./turns-edge.ts";

interface World {
  readonly edge: TurnsEdge;
  readonly client: EdgeClient;
  readonly topic: ClientTopic;
  /** Of the client, and of the call. */
  readonly owner: KeptSignal;
  readonly signal: AbortSignal;
  readonly ofCall: KeptSignal;
}

const VALUE = 1000;
const schema = {
  "~standard": { version: 1, vendor: "test", validate: async (value: unknown) => (await null, { value }) },
} as const;
const typed = ({ client }: World): ClientTopic => client.topic("typed", { schema } as never);

async function* records(): AsyncGenerator<{ readonly value: number }> {
  for (let n = 0; n < 3; n++) yield { value: VALUE + n };
}

const READS: Readonly<Record<string, (world: World) => AsyncIterator<unknown>>> = {
  read: ({ topic, signal }) => topic.read({ signal }),
  "read of the last": ({ topic, signal }) => topic.read({ from: { last: 1 }, signal }),
  "read, typed": (world) => typed(world).read({ signal: world.signal }),
  follow: ({ topic, signal }) => topic.read({ follow: true, signal }),
  "follow, latest": ({ topic, signal }) => topic.read({ from: "latest", follow: true, signal }),
  changes: ({ topic, signal }) => topic.changes({ signal }),
  export: ({ topic }) => topic.export(),
};

const CALLS: Readonly<Record<string, (world: World) => Promise<unknown>>> = {
  append: ({ topic, signal }) => topic.append({ value: VALUE }, { signal }),
  appendBatch: ({ topic, signal }) => topic.appendBatch([{ value: VALUE }, { value: VALUE }], { signal }),
  "append, typed": (world) => typed(world).append({ value: VALUE }, { signal: world.signal }),
  appendAll: ({ topic, signal }) => topic.appendAll(records(), { signal }),
  "appendAll, typed": (world) => typed(world).appendAll(records(), { signal: world.signal }),
  view: ({ topic, signal }) =>
    topic.view({ name: "v", initial: () => 0, apply: (state: number) => state + 1, signal }).ready(),
  importSegments: ({ topic, signal }) =>
    topic.importSegments([new File([new Uint8Array(100)], "00000000000000000000.log")], { signal }),
  state: ({ topic, signal }) => topic.state({ signal }),
  create: ({ topic, signal }) => topic.create({ signal }),
  end: ({ topic, signal }) => topic.end({ signal }),
  trim: ({ topic, signal }) => topic.trim(0, { signal }),
  delete: ({ topic, signal }) => topic.delete({ signal }),
};

type End = (world: World, reading?: AsyncIterator<unknown>) => unknown;
const ENDS: Readonly<Record<string, End>> = {
  "close()": ({ client }) => client.close(),
  "the client's signal": ({ owner }) => owner.abort(),
  "its signal": ({ ofCall }) => ofCall.abort(),
  "close(), and the client's signal": ({ client, owner }) => {
    const closed = client.close();
    owner.abort();
    return closed;
  },
  "its signal, and close()": ({ client, ofCall }) => (ofCall.abort(), client.close()),
};
const OF_READS: Readonly<Record<string, End>> = {
  "return()": (_, reading) => reading!.return!(),
  "return(), and close()": ({ client }, reading) => Promise.all([reading!.return!(), client.close()]),
};

/** Of signals that were not aborted, and have nothing left to tell. */
const stillHeard = (name: string, { listeners }: KeptSignal): string[] =>
  listeners > 0 ? [`${listeners} listeners of ${name}`] : [];

/** What goes on behind an end. */
async function leftOf({ edge, client, topic, owner, ofCall }: World, outcome: Outcome, isAll: boolean) {
  await vi.advanceTimersByTimeAsync(0);
  const { asked, text } = edge;
  const wrong = stillHeard("its signal", ofCall);
  if (!isAll && outcome === "CLOSED" && text.includes(String(VALUE))) wrong.push("CLOSED, and in the log");
  // A client that has ended hears its signal no more.
  const hasEnded = owner.listeners === 0;
  const after = hasEnded ? await topic.state().then(() => "done", outcomeOf) : "CLOSED";
  if (after !== "CLOSED" || edge.asked > asked)
    wrong.push(`a call afterwards: ${after}, ${edge.asked - asked} requests`);
  const closed = client.close().then(() => true);
  if (!(await Promise.race([closed, settledTurn().then(settledTurn)]))) wrong.push("close() is pending");
  await settledTurn();
  wrong.push(...stillHeard("the client's signal", owner));
  if (vi.getTimerCount() > 0) wrong.push(`${vi.getTimerCount()} timers`);
  if (edge.sockets.size > 0) wrong.push(`${edge.sockets.size} sockets`);
  if (edge.underway.size > 0) wrong.push(`${edge.underway.size} requests under way`);
  if (edge.text !== text) wrong.push("appended behind its end");
  vi.clearAllTimers();
  return wrong;
}

interface Line {
  readonly transport: "http" | "auto";
  readonly isTokenLate: boolean;
}

function worldOf({ transport, isTokenLate }: Line): World {
  const edge = new TurnsEdge(2);
  const [owner, ofCall] = [new KeptSignal(), new KeptSignal()];
  let isOver = false;
  const client = connect("https://edge.example", {
    fetch: edge.fetch,
    transport,
    WebSocket: edge.socketClass() as never,
    signal: owner.signal,
    ...(isTokenLate && {
      token: async () => {
        // It counts as a request: nothing is asked once the client has ended.
        if (isOver) edge.asked++;
        isOver = true;
        await null;
        return "t";
      },
    }),
  });
  return { edge, client, topic: client.topic("t"), owner, ofCall, signal: ofCall.signal };
}

function trial(name: string, end: End, line: Line): Trial {
  const world = worldOf(line);
  const reading = READS[name]?.(world);
  return {
    call: reading ? reading.next() : CALLS[name]!(world),
    end: () => end(world, reading),
    left: async (outcome) => {
      // A reader that has a record, and does not ask on, has to say that it leaves.
      if (outcome === "done") await reading?.return?.();
      return leftOf(world, outcome, name.startsWith("appendAll"));
    },
  };
}

const NAMES = [...Object.keys(CALLS), ...Object.keys(READS)];
const LINES = [
  { transport: "http", isTokenLate: false },
  { transport: "auto", isTokenLate: true },
] as const;

beforeAll(async () => {
  // Files that are loaded later are there from here on: how long that takes is not counted in turns.
  await Promise.all([import("../../src/client/live-socket.ts"), import("../../src/client/read-topic.ts")]);
  for (const name of NAMES) {
    const world = worldOf(LINES[1]);
    const reading = READS[name]?.(world);
    const call = reading ? reading.next() : CALLS[name]!(world);
    await Promise.race([call, new Promise((resolve) => setTimeout(resolve, 20))]);
    await Promise.all([world.client.close(), call.catch(() => undefined)]);
  }
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});
afterAll(() => void vi.useRealTimers());

describe.each(LINES)("over $transport", (line) => {
  it.each(NAMES)("%s, ended in every turn", async (name) => {
    const wrong: Record<string, readonly string[]> = {};
    const found = new Set<Outcome>();
    for (const [how, end] of Object.entries({ ...ENDS, ...(name in READS && OF_READS) })) {
      const trials = await inEveryTurn(() => trial(name, end, line), 120);
      if (trials.wrong.length > 0) wrong[how] = trials.wrong;
      for (const outcome of Object.keys(trials.outcomes)) found.add(outcome);
    }
    expect(wrong).toEqual({});
    const possible = ["done", "CLOSED", "aborted", ...(name.startsWith("append") ? ["OUTCOME_UNKNOWN"] : [])];
    expect([...found].filter((outcome) => !possible.includes(outcome))).toEqual([]);
    // Some ended before the call was over, and some behind it.
    expect(found.size).toBeGreaterThan(1);
  });
});

it("reads that are left before their first next() leave nobody who hears that the client closes", async () => {
  const world = worldOf(LINES[0]);
  const added = vi.spyOn(EventTarget.prototype, "addEventListener");
  const removed = vi.spyOn(EventTarget.prototype, "removeEventListener");
  for (let n = 0; n < 10; n++) await world.topic.read({ follow: true }).return!();
  await settledTurn();
  const ofOpen = ({ mock }: typeof added | typeof removed): number =>
    mock.contexts.filter((target) => target instanceof AbortSignal && !target.aborted).length;
  expect([ofOpen(added) > 0, ofOpen(added) - ofOpen(removed)]).toEqual([true, 0]);
  vi.restoreAllMocks();
  await world.client.close();
});
