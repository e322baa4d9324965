/**
 * Bounds how many bytes of logs are on their way to one client. A client gives each follow a window of credits. All
 * windows together may be far more than a Worker can hold for a client that stops reading, so credits are passed on to
 * the logs' objects only as there is room:
 *
 *   client ── credits ──▶ held ── granted as room allows ──▶ owed by the object ── batches ──▶ unread ── pong ──▶ free
 *
 *   FREE_BYTES   owed and unread together: up to this, any follow gets grants, in turn
 *   BASE_BYTES   each follow may always be owed this much, so that none waits for others that are quiet
 *   HARD_BYTES   a follow whose next batch is larger than its credits may use the rest, one follow at a time
 *
 * A client can't exceed a limit by giving windows: a follow only waits for its turn. A fetch waits in the same way.
 */
import { EdgeError } from "../errors.ts";
import { FOLLOW_CREDIT_BYTES_MAX } from "../../src/sync/frames.ts";
import { FETCH_BYTES_MAX } from "../rpc/sockets.ts";

export const FREE_BYTES = 16 * 1024 * 1024;
export const HARD_BYTES = 32 * 1024 * 1024;
export const BASE_BYTES = 16 * 1024;
/** Most follows and fetches under way on one socket. Each may be owed BASE_BYTES. */
export const REQUESTS_MAX = 1_024;
/** What one follow gets at a time if several want more. */
const SHARE_BYTES = 256 * 1024;

/** One follow or fetch of a channel. */
interface Request {
  /** Bytes that the object may still send. */
  left: number;
  /** Credits from the client that were not passed on yet. */
  held: number;
  /** Size of the next batch if that is larger than `left`; 0 if it is not known. */
  need: number;
  /** Passes credits on to the object. */
  readonly grant: (bytes: number) => void;
  /** Starts a fetch that waits for room. */
  begin: (() => void) | undefined;
  readonly isFetch: boolean;
}

/** The requests of one channel, by the client's id. */
export type Requests = Map<number, Request>;

export class SocketCredits {
  #owed = 0;
  #unread = 0;
  #count = 0;
  /** Requests with credits that were not passed on. The first one is next. */
  readonly #wanting = new Set<Request>();
  /** Requests that need room for one large batch, in order. */
  readonly #starving = new Set<Request>();

  /** Bytes that may have to be held for the client at most. */
  get bytes(): number {
    return this.#owed + this.#unread;
  }

  #open(requests: Requests, id: number, request: Request): void {
    if (requests.has(id))
      throw new EdgeError("INVALID_ARGUMENT", `id ${id} is in use by a request under way; choose another id`);
    if (this.#count >= REQUESTS_MAX) {
      throw new EdgeError("LIMIT_EXCEEDED", `too many requests on one socket; ${REQUESTS_MAX} may be under way`, {
        requestsMax: REQUESTS_MAX,
      });
    }
    requests.set(id, request);
    this.#count++;
  }

  /** Begins a follow. Returns the credits that its object gets at once; more come by `grant`. */
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

  /** The client gives a follow more credits. */
  more(requests: Requests, id: number, credits: number): void {
    const request = requests.get(id);
    // The follow's end and these credits may have crossed on the way.
    if (!request || request.isFetch) return;
    checkWindow(request.left + request.held + credits);
    request.held += credits;
    this.#want(request);
  }

  /** Counts batches that were sent on to the client. */
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
   * The object has a batch that is larger than its credits. Returns true if the held credits suffice for it: then the
   * client need not be told.
   */
  starved(requests: Requests, id: number, need: number): boolean {
    const request = requests.get(id);
    if (!request || request.isFetch) {
      this.end(requests, id);
      return false;
    }
    request.need = need;
    // Less than that would not help the follow.
    this.#wanting.delete(request);
    if (request.left + request.held < need) return false;
    this.#want(request);
    return true;
  }

  /** The client has read `bytes` more. */
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

  /** A follow has new credits, or owes less. */
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

  /** Passes on as many held credits as there is room for, and returns how many. */
  #pass(request: Request): number {
    // A request that waits for room already goes first.
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

  /** Serves requests that wait, as far as there is room. */
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
      // It goes to the end of the line.
      if (request.held > 0) this.#wanting.add(request);
      request.grant(bytes);
    }
  }
}

function checkWindow(credits: number): void {
  if (credits <= FOLLOW_CREDIT_BYTES_MAX) return;
  const message = `a follow would have ${credits} bytes of credits; at most ${FOLLOW_CREDIT_BYTES_MAX} are allowed`;
  throw new EdgeError("LIMIT_EXCEEDED", message, { creditsMax: FOLLOW_CREDIT_BYTES_MAX });
}
