/**
 * Outboxes over real connections to workerd: the process is killed under pushes of several rows; a setting turns joins
 * off; and the promises of the sockets are checked on workers with planted bugs, each of which must break one.
 */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { SignJWT } from "jose";
import { afterAll, expect, test } from "vitest";
import type { Wire } from "../../../src/sync/edge-socket.ts";
import { FrameType } from "../../../src/sync/frames.ts";
import { readTide } from "../../../src/sync/sync-frames.ts";
import { Random } from "../../simulation/prng.ts";
import { releaseKernel } from "../../support/kernels.ts";
import type { PlantedBug } from "../../support/planted-bug.ts";
import { batchMaker, crcOf, Device } from "../outbox-device.ts";
import { RawWorkerd } from "../raw-workerd.ts";

const SECRET = "a secret of at least thirty-two characters";
const batchAt = batchMaker(await releaseKernel());
const directories: string[] = [];
afterAll(() => directories.forEach((directory) => rmSync(directory, { recursive: true, force: true })));

async function workerOf(settings: Record<string, string>, plants: readonly PlantedBug[] = []): Promise<RawWorkerd> {
  const directory = mkdtempSync(path.join(os.tmpdir(), "tidemark-outbox-"));
  directories.push(directory);
  const worker = await RawWorkerd.create({ directory, settings, plants });
  await worker.start();
  return worker;
}

const tokenOf = (sub: string): Promise<string> =>
  new SignJWT({ scope: "read:** write:**", tenant: "acme", sub })
    .setProtectedHeader({ alg: "HS256" })
    .setExpirationTime("1h")
    .sign(new TextEncoder().encode(SECRET));

class Edge {
  #logs = 0;
  constructor(
    readonly worker: RawWorkerd,
    readonly isOpen: boolean,
  ) {}

  at(name: string): string {
    return `${this.worker.url}/v1/stream/${name}`;
  }
  async make(): Promise<string> {
    const name = `log-${++this.#logs}`;
    const authorization = this.isOpen ? undefined : `Bearer ${await tokenOf("ann")}`;
    const headers = { "content-type": "text/plain", ...(authorization && { authorization }) };
    expect((await fetch(this.at(name), { method: "PUT", headers })).status).toBe(201);
    return name;
  }
  async device(name: string, sub?: string): Promise<Device> {
    const protocols = sub === undefined ? [] : ["tidemark.1", `bearer.${await tokenOf(sub)}`];
    const socket = new WebSocket(this.at(name).replace("http", "ws"), protocols);
    socket.binaryType = "arraybuffer";
    const device = new Device(socket as Wire);
    // A device that is refused ends without a hello.
    await Promise.race([device.hello, device.closed.then((code) => Promise.reject(new Error(`closed with ${code}`)))]);
    return device;
  }
  async text(name: string): Promise<string> {
    let text = "";
    for (let offset = "-1"; ;) {
      const response = await fetch(`${this.at(name)}?offset=${offset}`);
      text += await response.text();
      offset = response.headers.get("stream-next-offset")!;
      if (response.headers.has("stream-up-to-date")) return text;
    }
  }
}

test("kill -9 under pushes of several rows: each is there whole or not at all, once, in order", async () => {
  const worker = await workerOf({ TIDEMARK_OPEN_ACCESS: "loopback" });
  const edge = new Edge(worker, true);
  const name = await edge.make();
  const random = new Random(16, 1);
  // Rows hold one such batch each.
  const batches = Array.from({ length: 45 }, (_, i) => batchAt(i, [`${i} `.padEnd(700_000, ".")]));
  const ends = new Set(Array.from({ length: 16 }, (_, i) => i * 3));
  let registered = false;
  let kills = 0;
  let unanswered = 0;
  for (let next = 0; next < batches.length;) {
    const device = await edge.device(name);
    const joined = await device.join({ registered, term: kills });
    expect(joined).toMatchObject({ known: true, term: kills, lineage: "same" });
    registered = true;
    expect([joined.next, ends.has(joined.next)]).toEqual([joined.logEndOffset, true]);
    expect(joined.lastCrc).toBe(joined.next === 0 ? 0 : crcOf(batches[joined.next - 1]!));
    expect(joined.next).toBeGreaterThanOrEqual(next);
    next = joined.next;
    if (next === batches.length) break;
    const answers = [0, 3]
      .filter((ahead) => next + ahead < batches.length)
      .map((ahead) => {
        const at = next + ahead;
        return device.push(batches.slice(at, at + 3), { previous: at === 0 ? 0 : crcOf(batches[at - 1]!) });
      });
    const isAnswered = random.chance(0.5);
    // Never settles where the socket ends first.
    const first = answers[0]!.then(({ next: acked }) => (next = acked ?? next));
    await Promise.race([
      isAnswered ? first : new Promise((resolve) => setTimeout(resolve, random.int(60))),
      device.closed,
    ]);
    if (kills === 12) {
      await Promise.all(answers);
      continue;
    }
    if (!isAnswered) unanswered++;
    kills++;
    await worker.kill();
    await worker.start();
  }
  const text = await edge.text(name);
  await worker.kill();
  expect(text.match(/\d+ /g)?.map(Number)).toEqual(batches.map((_, i) => i));
  expect(unanswered).toBeGreaterThan(2);
});

test("TIDEMARK_SYNC=off: hello names no feature, joins and pushes are refused, all else goes on", async () => {
  const worker = await workerOf({ TIDEMARK_OPEN_ACCESS: "loopback", TIDEMARK_SYNC: "off" });
  const edge = new Edge(worker, true);
  const device = await edge.device(await edge.make());
  expect(await device.hello).toMatchObject({ features: [] });
  expect(await device.join()).toMatchObject({ code: "BAD_REQUEST" });
  expect(await device.push([batchAt(0, ["a "])])).toMatchObject({ code: "BAD_REQUEST" });
  const follow = device.follow(0);
  expect((await device.ask(FrameType.CANCEL, new Uint8Array(0))).frame.type).toBe(FrameType.OK);
  expect(device.frames.some(({ id, type }) => id === follow && type === FrameType.TIDE)).toBe(false);
  await worker.kill();
});

/** Each function returns whether the promise was kept. */
const PROMISES: Readonly<Record<string, (edge: Edge) => Promise<boolean>>> = {
  async "a browser's WebSocket opens with its token among the subprotocols"(edge) {
    const device = await edge.device(await edge.make(), "ann").catch(() => undefined);
    device?.wire.close();
    return device !== undefined;
  },
  async "an outbox is pushed from by its owner alone"(edge) {
    const name = await edge.make();
    const [ann, bob] = [await edge.device(name, "ann"), await edge.device(name, "bob")];
    await ann.join();
    await bob.join({ registered: true });
    const { code } = await bob.push([batchAt(0, ["a "])]);
    for (const device of [ann, bob]) device.wire.close();
    return code === "FORBIDDEN";
  },
  async "a leader that was replaced hears of it at once"(edge) {
    const name = await edge.make();
    const [old, young] = [await edge.device(name, "ann"), await edge.device(name, "ann")];
    await old.join();
    await young.join({ registered: true, term: 2 });
    // What comes behind the fence on the same socket.
    await old.ask(FrameType.CANCEL, new Uint8Array(0));
    for (const device of [old, young]) device.wire.close();
    return old.frames.some(({ id, type }) => id === 0 && type === FrameType.ERROR);
  },
  async "frames are pushed in their order"(edge) {
    const device = await edge.device(await edge.make(), "ann");
    await device.join();
    const batches = Array.from({ length: 60 }, (_, i) => batchAt(i, [`${i} `]));
    const answers = await Promise.all(
      batches.map((batch, i) => device.push([batch], { previous: i === 0 ? 0 : crcOf(batches[i - 1]!) })),
    );
    device.wire.close();
    return answers.every(({ lastOffset }, i) => lastOffset === i);
  },
  async "a follow that is level is told so, and not before"(edge) {
    const device = await edge.device(await edge.make(), "ann");
    await device.join();
    await device.push([batchAt(0, ["a "])]);
    const follow = device.follow(0);
    await device.next(({ id, type }) => id === follow && type === FrameType.BATCHES);
    await device.ask(FrameType.CANCEL, new Uint8Array(0));
    device.wire.close();
    const about = device.frames.filter(({ id }) => id === follow);
    const isTold = about.map(({ type, payload }) => (type === FrameType.TIDE ? readTide(payload)!.nextOffset : -1));
    return JSON.stringify(isTold) === "[-1,1]";
  },
};

const SESSIONS = "worker/log-object/outbox-sessions.ts";
const PLANTS: readonly (PlantedBug & { readonly breaks: string })[] = [
  {
    name: "no subprotocol is answered",
    file: "worker/front/client-socket.ts",
    find: "subprotocol === undefined ? {} :",
    replace: "subprotocol !== undefined ? {} :",
    breaks: "a browser's WebSocket opens with its token among the subprotocols",
  },
  {
    name: "an owner is the tenant's",
    file: "worker/front/owner.ts",
    find: "`${tenant}\\0${subject}`",
    replace: "`${tenant}\\0${subject.slice(0, 0)}`",
    breaks: "an outbox is pushed from by its owner alone",
  },
  {
    name: "nobody is fenced",
    file: SESSIONS,
    find: "if (outbox !== null) this.#fence(session, outbox);",
    replace: "",
    breaks: "a leader that was replaced hears of it at once",
  },
  {
    name: "frames overtake each other",
    file: "worker/log-object/sockets.ts",
    find: "session.turn.then(() => this.#take(session, frame))",
    replace:
      "Promise.resolve().then(() => frame.id % 3 === 0 ? new Promise((resolve) => setTimeout(resolve, 1)) : " +
      "undefined).then(() => this.#take(session, frame))",
    breaks: "frames are pushed in their order",
  },
  {
    name: "a follow that is level hears nothing",
    file: "worker/log-object/follow-serving.ts",
    find: "if (follows.get(follow.id) === follow) this.#host.outboxes.level(session, follow, stream);",
    replace: "",
    breaks: "a follow that is level is told so, and not before",
  },
];

async function keeps(plants: readonly PlantedBug[], promises: readonly string[]): Promise<Record<string, boolean>> {
  const worker = await workerOf({ TIDEMARK_JWT_SECRETS: SECRET }, plants);
  const edge = new Edge(worker, false);
  const kept: Record<string, boolean> = {};
  for (const promise of promises) kept[promise] = await PROMISES[promise]!(edge);
  await worker.kill();
  return kept;
}

test("every promise of the sockets is kept", async () => {
  const kept = await keeps([], Object.keys(PROMISES));
  expect(kept).toEqual(Object.fromEntries(Object.keys(PROMISES).map((promise) => [promise, true])));
});

test.each(PLANTS.map((plant) => [plant.name, plant] as const))(
  "planted bug is found: %s",
  async (_, { breaks, ...plant }) => expect(await keeps([plant], [breaks])).toEqual({ [breaks]: false }),
);
