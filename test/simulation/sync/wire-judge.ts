/**
 * What a device may say on one socket, judged frame by frame (docs/sync.md, "What holds at every moment").
 *
 *   push   I2: it is on the disk, and the term was proved after that, a lease ago at most          unflushed, unproved
 *          I7: its bytes are the page's                                                              changed
 *          a claim has read to the end of the answer that it follows                                 unread claim
 *          nothing goes out between a refusal and the last answer                                    early
 *   all    I11: frames, batches, samples and credits stay within their limits                        bounds
 *   close  a socket is not given up for its silence while something that it brought waits            storm
 */
import { LEASE_MS } from "../../../src/browser/platform/terms.ts";
import { viewOf } from "../../../src/record/bytes.ts";
import { type Frame, FrameType, jsonOf } from "../../../src/sync/frames.ts";
import { readPush, SAMPLES_MAX } from "../../../src/sync/sync-frames.ts";
import { WINDOW_SIZES, type WindowSizes } from "../../../src/sync/window-budget.ts";
import { nextOffsetOf, readHeader } from "../../../src/record/format.ts";
import { splitBatches } from "../../../src/record/record-batch.ts";
import type { MadeBatches } from "./made-batches.ts";

/** docs/sync.md, "Limits". */
const FRAME_BYTES = 1024 * 1024;
const FRAME_BATCHES = 1_000;
const FRAMES_IN_FLIGHT = 8;
/** A timer that is later than this shows that the device slept (src/sync/link.ts: PONG_MS, LATE). */
const SLEPT_MS = 20_000;
/** The channel of frames that belong to no log. */
const OF_SOCKET = 0xffff;
/** The windows of histories that name no others. They are so small that a window which creeps is noticed. */
export const WINDOWS: WindowSizes = { ...WINDOW_SIZES, most: 64 * 1024 };

/** What the judge knows of the device that speaks. */
export interface Speaking {
  readonly name: string;
  /** The end of what was flushed of a topic when the newest proof of the term began, and when that proof ended. */
  proved(path: string): { readonly end: number; readonly at: number };
  now(): number;
  /** True if these bytes outlive the loss of power. */
  isDurable(batch: Uint8Array): boolean;
  readonly made: MadeBatches;
  readonly windows: WindowSizes;
  fail(why: string): void;
  /** The device joins a log. */
  joins(): void;
  /** The device gives the edge a token, or has heard that it is refused. */
  readonly token: Record<"given" | "refused", (text: string) => void>;
}

interface Channel {
  /** The path of its log. */
  readonly path: string;
  /** Pushes without an answer, since the last join. */
  readonly pushes: Set<number>;
  isRefused: boolean;
  /** Where a claim must have read to, by the last answer. */
  goal: number;
  /** Credits of each follow that the edge has not used. */
  readonly credits: Map<number, number>;
  /** The most that a batch of a follow has needed, by what the edge has said. */
  needed: number;
}

export class WireJudge {
  readonly #by: Speaking;
  readonly #channels = new Map<number, Channel>();
  /** Tokens without an answer, by the ids of their frames. */
  readonly #tokens = new Map<number, string>();
  /** When a socket was closed that had brought something which nobody has heard for so long. */
  unheardAt = -1;

  constructor(by: Speaking) {
    this.#by = by;
  }

  #fail(why: string): void {
    this.#by.fail(`${why} (${this.#by.name})`);
  }

  #channelOf({ channel }: Frame): Channel {
    return this.#channels.get(channel) ?? this.#begun(channel, "");
  }

  #begun(channel: number, path: string): Channel {
    const begun = {
      path,
      pushes: new Set<number>(),
      isRefused: false,
      goal: 0,
      credits: new Map<number, number>(),
      needed: 0,
    };
    this.#channels.set(channel, begun);
    return begun;
  }

  /** A person has answered, or another id was drawn: the topic's session may join at once. */
  excuse(path: string): void {
    for (const channel of this.#channels.values()) if (channel.path === path) channel.isRefused = false;
  }

  /** Credits of a log's follows that the edge has not used. */
  creditsOf(path: string): number {
    const open = [...this.#channels.values()].filter((channel) => channel.path === path);
    return open.flatMap(({ credits }) => [...credits.values()]).reduce((sum, left) => sum + left, 0);
  }

  sent(frame: Frame): void {
    if (frame.type === FrameType.TOKEN) return this.#gives(frame);
    // Numbers of channels come again.
    if (frame.type === FrameType.OPEN) this.#begun(frame.channel, String(jsonOf(frame)?.["path"]));
    const channel = this.#channelOf(frame);
    if (frame.type === FrameType.JOIN) this.#joins(channel, frame);
    else if (frame.type === FrameType.PUSH) this.#pushes(channel, frame);
    else if (frame.type === FrameType.CANCEL) channel.credits.delete(frame.id);
    else if (frame.type === FrameType.CLOSE) channel.credits.clear();
    else if (frame.type === FrameType.FOLLOW || frame.type === FrameType.CREDIT) this.#credits(channel, frame);
  }

  #gives({ id, payload }: Frame): void {
    const text = new TextDecoder().decode(payload);
    this.#tokens.set(id, text);
    this.#by.token.given(text);
  }

  #joins(channel: Channel, frame: Frame): void {
    this.#checkEarly(channel, "join");
    this.#by.joins();
    channel.pushes.clear();
    const samples = jsonOf(frame)?.["samples"] as readonly unknown[];
    if (samples.length > SAMPLES_MAX) this.#fail(`bounds: a join with ${samples.length} samples`);
  }

  #checkEarly({ pushes, isRefused }: Channel, what: string): void {
    if (isRefused && pushes.size > 0) this.#fail(`early: a ${what} while ${pushes.size} pushes have no answer`);
  }

  #pushes(channel: Channel, frame: Frame): void {
    const { batches, readTo } = readPush(frame.payload)!;
    this.#checkEarly(channel, "push");
    channel.pushes.add(frame.id);
    const all = splitBatches(batches);
    if (channel.pushes.size > FRAMES_IN_FLIGHT) this.#fail(`bounds: ${channel.pushes.size} pushes on their way`);
    if (all.length > FRAME_BATCHES || (all.length > 1 && batches.length > FRAME_BYTES))
      this.#fail(`bounds: a push of ${all.length} batches, ${batches.length} bytes`);
    if (readTo !== undefined && readTo < channel.goal)
      this.#fail(`unread claim: it has read to ${readTo}, and the edge said ${channel.goal}`);
    const changed = this.#by.made.changed(batches);
    if (changed !== undefined) this.#fail(`changed: the push at ${changed} is not what its page made`);
    this.#checkFlushed(channel.path, all);
  }

  #checkFlushed(path: string, batches: readonly Uint8Array[]): void {
    const proved = this.#by.proved(path);
    const end = nextOffsetOf(readHeader(batches.at(-1)!));
    if (end > proved.end || this.#by.now() - proved.at > LEASE_MS)
      this.#fail(`unproved: a push to ${end}; up to ${proved.end} was flushed at the proof of ${proved.at}`);
    for (const batch of batches)
      if (!this.#by.isDurable(batch)) return this.#fail(`unflushed: a push of ${readHeader(batch).baseOffset}`);
  }

  #credits({ credits, needed }: Channel, { id, credits: more }: Frame): void {
    const left = (credits.get(id) ?? 0) + more;
    credits.set(id, left);
    if (left > Math.max(needed, this.#by.windows.most)) this.#fail(`bounds: a follow with ${left} credits`);
  }

  /** A frame that the device takes now. */
  heard(frame: Frame): void {
    const { type, id, payload } = frame;
    if (frame.channel === OF_SOCKET && type === FrameType.ERROR) this.#by.token.refused(this.#tokens.get(id)!);
    if (frame.channel === OF_SOCKET) return;
    const channel = this.#channelOf(frame);
    if (type === FrameType.STARVE) channel.needed = Math.max(channel.needed, viewOf(payload).getUint32(0));
    if (type === FrameType.BATCHES && channel.credits.has(id))
      channel.credits.set(id, channel.credits.get(id)! - payload.length);
    if (type !== FrameType.JOINED && type !== FrameType.OK && type !== FrameType.ERROR) return;
    const body = jsonOf(frame) ?? {};
    const details = (body["details"] ?? {}) as Record<string, unknown>;
    if (type === FrameType.JOINED) channel.goal = Number(body["logEndOffset"]);
    // A refused join tells the same.
    else if (details["stream"] !== undefined) channel.goal = Number(details["logEndOffset"]);
    if (!channel.pushes.delete(id)) return;
    if (type === FrameType.ERROR) {
      channel.isRefused = true;
      const told = Math.max(Number(details["lastOffset"] ?? -1) + 1, Number(details["logEndOffset"] ?? 0));
      if (body["code"] === "OUTBOX_CONFLICT") channel.goal = Math.max(channel.goal, told);
    }
    if (channel.pushes.size === 0) channel.isRefused = false;
  }

  /** The device closes its socket. */
  closed(waitedMs: number): void {
    if (waitedMs > SLEPT_MS) this.unheardAt = this.#by.now();
  }
}
