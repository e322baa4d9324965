/**
 * Sends an outbox's batches: frames of at most 1 MiB, at most eight on their way, each continuing the chain of the one
 * before it. After a refusal no new frame goes out. Once each frame on its way is answered, only the lowest refused one
 * counts: those behind it were refused because of it.
 *
 *   unsettledFrom ─▶ proof of the term ─▶ push ─▶ ok ─▶ told            the next frame does not wait for it
 *                                          └────▶ refused ─▶ the rest is awaited ─▶ what its class says
 *
 * An answer of the class "poison" names one batch. The batches before it are sent again without it, and the outbox is
 * blocked at that batch.
 */
import { TidemarkError } from "../errors.ts";
import { nextOffsetOf, readHeader } from "../record/format.ts";
import type { EdgeLog } from "./edge-socket.ts";
import { waitMs } from "./http-words.ts";
import { type AnswerClass, classOf } from "./push-answers.ts";
import type { Signal } from "./signal.ts";
import type { Pushed } from "./sync-frames.ts";
import type { OutboxRun, Range, TopicStore } from "./topic-store.ts";

export const PUSH_BYTES = 1024 * 1024;
const PUSH_BATCHES = 1_000;
/** After this many INTERNAL answers in a row for the same batch, that batch is blocked. */
const INTERNAL_MAX = 10;

/** Where the outbox stands at the edge. */
export interface Chain {
  readonly expected: number;
  readonly previous: number;
}

/** Why nothing more is sent: a person must decide about a batch, or the token must change. */
export interface Block {
  readonly code: string;
  readonly message: string;
  /** The blocked batch. Empty: no batch of this outbox is sent. IN_DOUBT names all ranges in doubt. */
  readonly ranges: readonly Range[];
}

export type PumpEnd =
  | { readonly then: "join" }
  | { readonly then: "claim" }
  | { readonly then: "token" }
  | { readonly then: "retry"; readonly code: string; readonly floorMs: number };

export interface PumpHost {
  readonly store: TopicStore;
  readonly changed: Signal;
  /** The edge's limits, as the newest join told them. */
  readonly limits: { readonly frameBytes: number; readonly batches: number; readonly records: number };
  /** Nothing at or after this block is sent. */
  readonly block: Block | undefined;
  setBlock(block: Block): void;
  proveTerm(): Promise<void>;
  /** True if a new outbox id was drawn or the channel is over: answers that come from now on do not count. */
  isOver(): boolean;
  taken(run: OutboxRun, pushed: Pushed): void;
  /** INTERNAL answers in a row for the frame at position `at`. */
  readonly internals: { at: number; count: number };
}

interface Flight {
  readonly run: OutboxRun;
  readonly chain: Chain;
  answer: Pushed | TidemarkError | undefined;
}

/** The edge's own code of an error, which may have another name in the library. */
export const edgeCodeOf = ({ code, details }: TidemarkError): string =>
  typeof details["edge"] === "string" ? details["edge"] : code;

/** How long the edge says to wait at least, in milliseconds; an hour at most, and 0 if it says nothing that counts. */
export const floorOf = ({ details }: Pick<TidemarkError, "details">): number =>
  waitMs(1000 * Number(details["retryAfter"]));

export class Pump {
  readonly #host: PumpHost;
  readonly #log: EdgeLog;
  #chain: Chain;
  readonly #flights: Flight[] = [];
  #refused: Flight | undefined;

  constructor(host: PumpHost, log: EdgeLog, chain: Chain) {
    this.#host = host;
    this.#log = log;
    this.#chain = chain;
  }

  /**
   * Sends what is there and what comes, until something else must be done. What the edge says never makes it reject.
   */
  async run(): Promise<PumpEnd | undefined> {
    for (;;) {
      if (this.#host.isOver()) return undefined;
      this.#settle();
      if (this.#refused && this.#flights.length === 0) {
        const end = this.#judge(this.#refused);
        if (end) return end;
        continue;
      }
      const sent = await this.#send();
      if (sent === "claim") return { then: "claim" };
      if (sent === "nothing") await this.#host.changed.wait();
    }
  }

  /** Takes the answers in the order of the frames. */
  #settle(): void {
    for (let first = this.#flights[0]; first?.answer !== undefined; first = this.#flights[0]) {
      this.#flights.shift();
      if (first.answer instanceof TidemarkError) this.#refused ??= first;
      else if (!this.#refused) {
        this.#host.internals.count = 0;
        this.#host.taken(first.run, first.answer);
      }
    }
  }

  get #isRefused(): boolean {
    return this.#refused !== undefined || this.#flights.some(({ answer }) => answer instanceof TidemarkError);
  }

  async #send(): Promise<"sent" | "nothing" | "claim"> {
    const { store, limits, block } = this.#host;
    if (this.#isRefused || this.#flights.length >= this.#log.socket.windows.pushes) return "nothing";
    if (block && block.ranges.length === 0) return "nothing";
    const chain = this.#chain;
    const most = {
      bytes: Math.min(PUSH_BYTES, limits.frameBytes),
      batches: Math.min(PUSH_BATCHES, limits.batches),
      records: limits.records,
    };
    if (block && block.ranges[0]![0] <= chain.expected) return "nothing";
    const found = await readable(this.#host, chain.expected, most);
    if (this.#host.isOver() || !found) return "nothing";
    // Positions would be left out. Only a claim may do that, because copies of this profile must hear of it.
    if (found.at !== chain.expected) return this.#flights.length === 0 ? "claim" : "nothing";
    const run = block ? runBefore(found, block.ranges[0]![0]) : found;
    if (!run) return "nothing";
    await this.#host.proveTerm();
    // An answer may have come during the proof.
    if (this.#host.isOver() || this.#isRefused) return "sent";
    const flight: Flight = { run, chain, answer: undefined };
    this.#flights.push(flight);
    this.#chain = { expected: run.next, previous: run.lastCrc };
    const { expected, previous } = chain;
    this.#log.push({ expected, at: run.at, readTo: undefined, previous }, run.batches).then(
      (pushed) => this.#answered(flight, pushed),
      (thrown: unknown) => this.#answered(flight, TidemarkError.from(thrown)),
    );
    return "sent";
  }

  #answered(flight: Flight, answer: Pushed | TidemarkError): void {
    flight.answer = answer;
    this.#host.changed.set();
  }

  /** Called when everything is answered. Undefined: the pump goes on with another chain or another block. */
  #judge({ run, chain, answer }: Flight): PumpEnd | undefined {
    const error = answer as TidemarkError;
    const code = edgeCodeOf(error);
    const is: AnswerClass = classOf(code);
    this.#refused = undefined;
    this.#chain = chain;
    if (is === "poison") {
      this.#host.setBlock(blockOf(run, error));
      return undefined;
    }
    if (is === "right") {
      this.#host.setBlock({ code, message: error.toWire().message, ranges: [] });
      return undefined;
    }
    if (is === "token") return { then: "token" };
    if (is === "wait") return { then: "retry", code, floorMs: floorOf(error) };
    if (code === "INTERNAL" && this.#isStubborn(run)) {
      this.#host.setBlock(blockOf(run, error));
      return undefined;
    }
    return { then: "join" };
  }

  #isStubborn({ at }: OutboxRun): boolean {
    const { internals } = this.#host;
    internals.count = internals.at === at ? internals.count + 1 : 1;
    internals.at = at;
    return internals.count >= INTERNAL_MAX;
  }
}

/** Blocks the batch that an error names by its place in the frame, or the first one if it names none. */
export function blockOf(run: OutboxRun, error: TidemarkError): Block {
  const index = Number(error.details["index"] ?? 0);
  const header = readHeader(run.batches[index] ?? run.batches[0]!);
  const { message } = error.toWire();
  return { code: edgeCodeOf(error), message, ranges: [[header.baseOffset, nextOffsetOf(header)]] };
}

/** The next run; undefined if there is none, or if the outbox is damaged there: then it is blocked. */
export async function readable(
  { store, setBlock }: Pick<PumpHost, "store" | "setBlock">,
  position: number,
  most: { readonly bytes: number; readonly batches: number; readonly records: number },
): Promise<OutboxRun | undefined> {
  try {
    return await store.unsettledFrom(position, most);
  } catch (thrown) {
    const { code, message, details } = TidemarkError.from(thrown);
    if (code !== "CORRUPT_RANGE") throw thrown;
    setBlock({ code, message, ranges: [[Number(details["from"]), Number(details["to"])]] });
    return undefined;
  }
}

/** The part of a run before a position; undefined if there is none. */
function runBefore(run: OutboxRun, position: number): OutboxRun | undefined {
  if (run.next <= position) return run;
  const batches = run.batches.filter((batch) => nextOffsetOf(readHeader(batch)) <= position);
  const last = batches.at(-1);
  if (!last) return undefined;
  const header = readHeader(last);
  return { at: run.at, next: nextOffsetOf(header), lastCrc: header.crc, batches };
}
