/**
 * How much of what logs have to say is on its way to one client. A client gives each follow a window of credits; all
 * windows together may be far more than a Worker can hold for a client that stops reading. So credits are passed on to
 * the logs' objects as there is room:
 *
 *   client ── credits ──▶ held ── granted as room allows ──▶ owed by the object ── batches ──▶ unread ── pong ──▶ free
 *
 *   FREE_BYTES   owed and unread together: up to it grants are for everybody, in turn
 *   BASE_BYTES   each follow may always be owed that much, so that none waits for others that are quiet
 *   HARD_BYTES   a batch that is larger than what its follow is owed may use the rest, one after the other
 *
 * No client meets a limit by giving windows: a follow only has to wait for its turn. A fetch waits likewise.
 */
import { EdgeError } from "../errors.ts";
import { FOLLOW_CREDIT_BYTES_MAX } from "../../src/sync/frames.ts";

export const FREE_BYTES = 16 * 1024 * 1024;
export const HARD_BYTES = 32 * 1024 * 1024;
export const BASE_BYTES = 16 * 1024;
/** Follows and fetches under way on one socket: each may be owed BASE_BYTES. */
export const REQUESTS_MAX = 1_024;
/** What one follow gets at a time where several want more. */
const SHARE_BYTES = 256 * 1024;
/** An object answers a fetch with no more. */
const FETCH_BYTES_MAX = 2 * 1024 * 1024;

/** One follow or fetch of a channel. */
interface Request {
  /** What the object may still send. */
  left: number;
  /** Given by the client, and not passed on yet. */
  held: number;
  /** The next batch has so many bytes, more than `left`; 0 for none that is known. */
  need: number;
  /** Passes credits on to the object. */
  readonly grant: (bytes: number) => void;
  /** A fetch that waits for room begins so. */
  begin: (() => void) | undefined;
  readonly isFetch: boolean;
}

/** Of one channel, by the client's id. */
export type Requests = Map<number, Request>;

export class SocketCredits {
  #owed = 0;
  #unread = 0;
  #count = 0;
  /** Have credits that are not passed on; the first is the next. */
  readonly #wanting = new Set<Request>();
  /** Need room for one batch, in their order. */
  readonly #starving = new Set<Request>();

  /** Bytes that the client makes us hold at most. */
  get bytes(): number {
    return this.#owed + this.#unread;
  }

  #open(requests: Requests, id: number, request: Request): void {
    if (requests.has(id))
      throw new EdgeError("INVALID_ARGUMENT", `id ${id} is under way already; a request has an id of its own`);
    if (this.#count >= REQUESTS_MAX) {
      throw new EdgeError("LIMIT_EXCEEDED", `too many requests on one socket; ${REQUESTS_MAX} may be under way`, {
        requestsMax: REQUESTS_MAX,
      });
    }
    requests.set(id, request);
    this.#count++;
  }

  /** Begins a follow. Gives what its object is owed at once; the rest follows by `grant`. */
  follow(requests: Requests, id: number, credits: number, grant: (bytes: number) => void): number {
    checkWindow(credits);
    const request: Request = { left: 0, held: credits, need: 0, grant, begin: undefined, isFetch: false };
    this.#open(requests, id, request);
    return this.#pass(request);
  }

  /** Begins a fetch now, or as soon as there is room for its answer. */
  fetch(requests: Requests, id: number, credits: number, begin: () => void): void {
    const need = Math.min(credits, FETCH_BYTES_MAX);
    const request: Request = { left: 0, held: need, need, grant: () => undefined, begin, isFetch: true };
    this.#open(requests, id, request);
    this.#starving.add(request);
    this.#serve();
  }

  /** The client gives a follow more. */
  more(requests: Requests, id: number, credits: number): void {
    const request = requests.get(id);
    // Its end may have crossed the credits on the way.
    if (!request || request.isFetch) return;
    checkWindow(request.left + request.held + credits);
    request.held += credits;
    this.#want(request);
  }

  /** Batches went on to the client. */
  sent(requests: Requests, id: number, bytes: number): void {
    this.#unread += bytes;
    const request = requests.get(id);
    if (!request) return;
    const paid = Math.min(bytes, request.left);
    request.left -= paid;
    this.#owed -= paid;
    request.need = 0;
    if (request.isFetch) this.end(requests, id);
    else this.#want(request);
  }

  /**
   * The object has a batch that is larger than its credits. True: those that are held suffice, and the client need not
   * know.
   */
  starved(requests: Requests, id: number, need: number): boolean {
    const request = requests.get(id);
    if (!request || request.isFetch) {
      this.end(requests, id);
      return false;
    }
    request.need = need;
    // Less than that would not help it.
    this.#wanting.delete(request);
    if (request.left + request.held < need) return false;
    this.#want(request);
    return true;
  }

  /** The client has read everything up to `bytes` ago. */
  read(bytes: number): void {
    this.#unread -= bytes;
    this.#serve();
  }

  end(requests: Requests, id: number): void {
    const request = requests.get(id);
    if (!request) return;
    requests.delete(id);
    this.#wanting.delete(request);
    this.#starving.delete(request);
    this.#count--;
    this.#owed -= request.left;
    this.#serve();
  }

  /** The channel is gone. */
  drop(requests: Requests): void {
    for (const id of [...requests.keys()]) this.end(requests, id);
  }

  /** A follow with new credits, or with a smaller debt. */
  #want(request: Request): void {
    if (request.held === 0) return;
    if (request.need > request.left) {
      if (request.left + request.held >= request.need) this.#starving.add(request);
    } else {
      const bytes = this.#pass(request);
      if (bytes > 0) request.grant(bytes);
    }
    this.#serve();
  }

  /** Moves what there is room for from held to owed, and says how much. */
  #pass(request: Request): number {
    // Nobody is passed over who waits for room already.
    const isFirst = this.#wanting.size === 0 || (this.#wanting.size === 1 && this.#wanting.has(request));
    const room = isFirst && this.#starving.size === 0 ? FREE_BYTES - this.bytes : 0;
    const bytes = this.#move(request, Math.max(room, BASE_BYTES - request.left));
    if (request.held > 0) this.#wanting.add(request);
    return bytes;
  }

  #move(request: Request, most: number): number {
    const bytes = Math.max(0, Math.min(request.held, most));
    request.held -= bytes;
    request.left += bytes;
    this.#owed += bytes;
    if (request.held === 0) this.#wanting.delete(request);
    return bytes;
  }

  /** Whoever waits, as far as there is room. */
  #serve(): void {
    for (const request of [...this.#starving]) {
      const bytes = request.need - request.left;
      if (this.bytes > 0 && this.bytes + bytes > HARD_BYTES) return;
      this.#starving.delete(request);
      this.#move(request, bytes);
      request.need = 0;
      if (request.begin) request.begin();
      else request.grant(bytes);
    }
    for (;;) {
      const room = FREE_BYTES - this.bytes;
      const request: Request | undefined = this.#wanting.values().next().value;
      if (room <= 0 || !request) return;
      this.#wanting.delete(request);
      const bytes = this.#move(request, Math.min(room, SHARE_BYTES));
      // To the end of the line.
      if (request.held > 0) this.#wanting.add(request);
      request.grant(bytes);
    }
  }
}

function checkWindow(credits: number): void {
  if (credits <= FOLLOW_CREDIT_BYTES_MAX) return;
  const message = `a follow has ${credits} bytes of credits; it may have ${FOLLOW_CREDIT_BYTES_MAX}`;
  throw new EdgeError("LIMIT_EXCEEDED", message, { creditsMax: FOLLOW_CREDIT_BYTES_MAX });
}
