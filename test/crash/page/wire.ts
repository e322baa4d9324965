/**
 * Sends events to the ledger: one request at a time, so that they arrive in order. Events that occur during a request
 * go with the next one.
 */
import type { PageEvent, Post } from "../events.ts";

/**
 * Functions of the test driver in the page, where there is one (test/tabs/browser.ts): one takes a request for the
 * ledger, the other says that the ledger has it.
 */
interface Driver {
  ledgerHears?: (numbered: string) => void;
  ledgerHas?: (number: number) => void;
}
const driver = globalThis as Driver;
/**
 * After this time the request is sent over HTTP: the driver may lose a page, for example one from the back/forward
 * cache.
 */
const DRIVER_MS = 1_000;
const onItsWay = new Map<number, (arrived: boolean) => void>();
let sent = 0;
driver.ledgerHas = (number) => onItsWay.get(number)?.(true);

/**
 * Sends a body through the driver. Driver and browser need about one millisecond of processor time for it, and four for
 * a request. False when there is no driver or it does not answer.
 */
function overDriver(body: string): Promise<boolean> {
  if (!driver.ledgerHears) return Promise.resolve(false);
  const number = ++sent;
  return new Promise<boolean>((resolve) => {
    onItsWay.set(number, resolve);
    setTimeout(resolve, DRIVER_MS, false);
    driver.ledgerHears!(`${number} ${body}`);
  }).finally(() => onItsWay.delete(number));
}

export class Wire {
  #waiting: PageEvent[] = [];
  #sending: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #clock = 0;
  #ids = 0;

  /** With `page`, a unique name for the page, a request that failed is sent again. */
  constructor(
    readonly life: number,
    readonly page?: string,
  ) {}

  /** The page's clock: no two events have the same time. */
  tick(): number {
    return ++this.#clock;
  }
  id(): number {
    return ++this.#ids;
  }

  /** Keeps an event until the next `tell`. */
  later(event: PageEvent): void {
    this.#waiting.push(event);
  }

  /** Sends an event, and all that wait. Resolves when the ledger has them. */
  tell(event: PageEvent): Promise<void> {
    this.#waiting.push(event);
    // All waiting events go with one request and share its promise.
    this.#next ??= (this.#sending ?? Promise.resolve()).then(() => this.#post());
    return this.#next;
  }

  #post(): Promise<void> {
    const body: Post = {
      life: this.life,
      events: this.#waiting,
      ...(this.page && { number: `${this.page}/${this.id()}` }),
    };
    this.#waiting = [];
    this.#next = undefined;
    this.#sending = this.#send(JSON.stringify(body));
    return this.#sending;
  }

  async #send(body: string): Promise<void> {
    if (this.page && (await overDriver(body))) return;
    for (;;) {
      const response = await fetch("ledger", { method: "POST", body }).catch((thrown: unknown) => {
        if (!this.page) throw thrown;
      });
      if (response?.ok) return;
      if (!this.page) throw new Error(`the ledger answered ${response!.status}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}
