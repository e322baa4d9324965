/** Pages of one topic: by requests, and what is live by the socket, or by long-polls while there is none. */
import { textDecoder } from "../record/bytes.ts";
import { BATCHES_TYPE, formatOffset } from "../sync/http-words.ts";
import { refused } from "../topic/check.ts";
import { isClosed, NEXT, offsetOf } from "./answers.ts";
import { followOver, type SocketWay } from "./live.ts";
import type { Page } from "./page.ts";
import type { EdgeAsk, EdgeReply } from "./requests.ts";

interface Patience {
  readonly ms: number | undefined;
  readonly silentMs?: number;
}

/** A long-poll is answered in 20 s. */
const POLL: Patience = { ms: Infinity, silentMs: 35_000 };
const NOTHING = new Uint8Array(0);

/**
 * True if the 404 says that the address can't be a topic's, so that the url is wrong. A topic not made yet is 404,
 * too.
 */
const isNowhere = ({ bytes }: EdgeReply): boolean => textDecoder.decode(bytes).includes('"reason":"address"');

/** What is needed of a topic. */
export interface PagedTopic {
  readonly name: string;
  readonly live: SocketWay;
  /** The answer, if it is a success or the edge's with one of these statuses. */
  asked(ask: Omit<EdgeAsk, "path">, ...allowed: readonly number[]): Promise<EdgeReply>;
}

export class EdgePages {
  readonly #topic: PagedTopic;

  constructor(topic: PagedTopic) {
    this.#topic = topic;
  }

  /** `ms`: how long it tries. Default: as long as a call. */
  page(from: number, over: AbortSignal, ms?: number): Promise<Page> {
    return this.#page(`?offset=${formatOffset(from)}`, from, over, { ms });
  }

  async #page(query: string, from: number, over: AbortSignal, { ms, silentMs }: Patience): Promise<Page> {
    const { live, asked } = this.#topic;
    const headers = { accept: BATCHES_TYPE };
    const ask = { method: "GET", query, headers, ...(silentMs !== undefined && { silentMs }) };
    const answer = await live.requests.again(
      async (signal) => {
        const answer = await asked({ ...ask, signal }, 404);
        // A login page of a network may answer in the edge's place. A read that follows tries on until that is over.
        if (ms === Infinity && answer.status < 300) offsetOf(answer, NEXT);
        return answer;
      },
      { signal: over, ms },
    );
    if (answer.status === 404 && isNowhere(answer)) throw refused("url", live.requests.url, "the edge's own address");
    if (answer.status === 404)
      return { bytes: NOTHING, nextOffset: from, isLevel: true, ended: false, isMissing: true };
    const nextOffset = offsetOf(answer, NEXT);
    const isLevel = answer.headers.get("stream-up-to-date") === "true";
    const log = answer.headers.get("tidemark-log");
    return { bytes: answer.bytes, nextOffset, isLevel, ended: isLevel && isClosed(answer), log };
  }

  /** Pages from the log's end on, as they come. It may end at any time: the reader then asks for pages again. */
  async *live(from: number, over: AbortSignal): AsyncGenerator<Page> {
    const { name, live } = this.#topic;
    for (let at = from; ;) {
      const follow = followOver(live, name, at, over);
      // The next page shows how the follow ended.
      if (follow) return yield* follow;
      const page = await this.#page(`?offset=${formatOffset(at)}&live=long-poll`, at, over, POLL);
      if (page.nextOffset > at || page.ended || page.isMissing) yield page;
      if (page.isMissing) return;
      at = page.nextOffset;
    }
  }
}
