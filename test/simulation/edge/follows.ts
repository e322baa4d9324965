/**
 * Clients that follow streams over WebSockets, with windows of a few bytes. They widen them late, early, or not at all.
 * A follow sees each record that is there from its place on, once and in order, and never more bytes than it has given
 * credits for. In the end each that was not ended has seen all.
 */
import { decodeFrame, encodeFrame, FrameType, jsonFrame, jsonOf } from "../../../src/sync/frames.ts";
import type { Random } from "../prng.ts";
import { type Core, PATHS, sameBytes, urlOf } from "./core.ts";
import type { Held, ModelStream } from "./model.ts";
import type { Decoded } from "./reads.ts";
import type { End } from "./socket-ends.ts";

const ID = 7;
/** Ends that a follow may meet: its object was reset, its stream is gone, nobody has read from it for long. */
const ENDS: ReadonlySet<unknown> = new Set([1001, 1006, 1011, 1012, 4404, 4408]);

interface Follow {
  readonly stream: ModelStream;
  readonly socket: End;
  readonly from: number;
  /** Of the stream's object, when the follow began. */
  readonly life: number;
  /** It has seen all before this offset. */
  at: number;
  /** Bytes that the edge may still send. */
  credits: number;
  /** Bytes that the edge's next batch lacks. */
  starved: number;
  readonly seen: Map<number, Decoded>;
  /** Batches that came and are not looked at yet. */
  readonly came: Uint8Array[];
  over: string | undefined;
}

export class Follows {
  readonly #of: Core;
  #open: Follow[] = [];

  constructor(of: Core) {
    this.#of = of;
  }

  async begin(random: Random): Promise<void> {
    const of = this.#of;
    // A follow keeps a stream with a TTL alive, which the model does not know.
    const streams = PATHS.map((path) => of.model.visible(path)).filter((each) => each && each.ends[0] === Infinity);
    const stream = random.pick(streams);
    if (!stream || this.#open.length >= 4) return;
    const from = random.between(stream.start, stream.end);
    const { platform } = of;
    const answer = await platform.settled(platform.request("GET", urlOf(stream.path), { upgrade: "websocket" }));
    if (answer.status !== 101) of.fail(`follow of ${stream.path}: status ${answer.status}`);
    const socket = (answer as { readonly webSocket?: unknown }).webSocket as End;
    const credits = random.pick([1, 100, 700, 5_000]);
    const { life } = platform.hostOf(stream.path);
    const fresh = { life, at: from, credits, starved: 0, seen: new Map(), came: [], over: undefined };
    const follow: Follow = { stream, socket, from, ...fresh };
    this.#open.push(follow);
    socket.addEventListener("message", (event) => this.#hear(follow, (event as { data: unknown }).data));
    socket.addEventListener("close", (event) => {
      const { code } = event as { code: number };
      follow.over ??= `close ${code}`;
      if (!ENDS.has(code)) of.platform.faults.push(`follow of ${stream.path}: closed with ${code}`);
    });
    socket.accept();
    const asked = { type: FrameType.FOLLOW, channel: 0, id: ID, credits };
    socket.send(jsonFrame(asked, { from }));
    await platform.quiet(20);
    of.count("follow");
  }

  #hear(follow: Follow, data: unknown): void {
    const { socket, stream } = follow;
    if (data === "ping") return socket.send("pong");
    const frame = decodeFrame(data);
    if (!frame || follow.over !== undefined) return;
    const fault = (why: string): void => void this.#of.platform.faults.push(`follow of ${stream.path}: ${why}`);
    switch (frame.type) {
      case FrameType.BATCHES:
        follow.credits -= frame.payload.length;
        follow.starved = 0;
        if (follow.credits < 0) fault(`${-follow.credits} bytes more than it has credits for`);
        follow.came.push(frame.payload);
        return;
      case FrameType.STARVE:
        follow.starved = new DataView(frame.payload.buffer, frame.payload.byteOffset).getUint32(0);
        return;
      case FrameType.PASSED:
        follow.came.push(new Uint8Array());
        return;
      case FrameType.END:
        follow.over = "end";
        return;
      case FrameType.ERROR: {
        const { code } = jsonOf(frame) as { code: string };
        follow.over ??= `error ${code}`;
        // Code of an object that was reset goes on here until it notices that; on the platform it does not.
        if (code === "INTERNAL" && this.#of.platform.hostOf(stream.path).life !== follow.life) return;
        if (!/^(CLOSED|GONE|NOT_FOUND|OFFSET_OUT_OF_RANGE)$/.test(code)) fault(`error ${code}`);
      }
    }
  }

  #give(follow: Follow, credits: number): void {
    if (follow.over !== undefined) return;
    follow.credits += credits;
    follow.socket.send(encodeFrame({ type: FrameType.CREDIT, channel: 0, id: ID, credits }));
    this.#of.count("follow credits");
  }

  /** Some get credits, some are left. */
  async step(random: Random): Promise<void> {
    for (const follow of this.#open) {
      if (random.chance(0.6))
        this.#give(follow, Math.max(follow.starved - follow.credits, random.pick([1, 300, 2_000])));
      else if (random.chance(0.1)) {
        follow.over = "left";
        follow.socket.close(1000);
        this.#of.count("follow left");
      }
    }
    await this.#of.platform.quiet(30);
    await this.look();
  }

  /** Compares all that came with the model. */
  async look(): Promise<void> {
    for (const follow of this.#open) await this.#compare(follow);
    this.#open = this.#open.filter(({ over }) => over === undefined);
  }

  async #compare(follow: Follow): Promise<void> {
    const { stream, came, seen, from } = follow;
    if (came.length === 0) return;
    const fail = (why: string): never => this.#of.fail(`follow of ${stream.path} from ${from}: ${why}`);
    for (const bytes of came.splice(0))
      for (const record of await this.#of.reads.decode(bytes)) {
        if (record.offset < from) continue;
        if (record.offset < follow.at) fail(`${record.offset} behind ${follow.at}`);
        seen.set(record.offset, record);
        follow.at = record.offset + 1;
      }
    // Compaction and retention may have removed some since.
    if ((await this.#of.observe(stream.path)) === stream)
      for (const record of stream.records) this.#fits(record, follow, fail);
  }

  #fits({ offset, value }: Held, { at, from, seen }: Follow, fail: (why: string) => never): void {
    if (offset < from || offset >= at) return;
    const found = seen.get(offset);
    if (!found) return fail(`${offset} did not come, and ${at - 1} did`);
    const isSame = value === null ? found.value === null : found.value !== null && sameBytes(found.value, value);
    if (!isSame) fail(`${offset} is another record`);
  }

  /** Nothing is cut any more: whoever follows gets all there is. */
  async all(): Promise<void> {
    const of = this.#of;
    await this.look();
    for (const follow of this.#open) this.#give(follow, 1_000_000);
    await of.platform.pass(200_000);
    const open = this.#open;
    await this.look();
    for (const { stream, from, at, over } of open) {
      const last = stream.records.filter(({ offset }) => offset >= from).at(-1)?.offset ?? -1;
      if (of.model.at.get(stream.path) !== stream || stream.deleted) continue;
      if (at <= last && (over === undefined || over === "end"))
        of.fail(`follow of ${stream.path} stands at ${at}, and it ends at ${stream.end} (${over ?? "open"})`);
      of.count(`follow ${over ?? "is level"}`);
    }
  }
}
