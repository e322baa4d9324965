/**
 * The way to the ledger: one request at a time, so that events arrive in order; what comes up meanwhile goes with the
 * next.
 */
import type { PageEvent, Post } from "../events.ts";

/**
 * The driver's way to the ledger, where there is one (test/tabs/browser.ts), and what the driver calls when the ledger
 * has it.
 */
interface Driver {
  ledgerHears?: (numbered: string) => void;
  ledgerHas?: (number: number) => void;
}
const driver = globalThis as Driver;
/** The driver may lose a page, as one that comes out of the cache. */
const DRIVER_MS = 1_000;
const onItsWay = new Map<number, (arrived: boolean) => void>();
let sent = 0;
driver.ledgerHas = (number) => onItsWay.get(number)?.(true);

/** False: nobody is there. A request costs driver and browser some four milliseconds of processor time, this one. */
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

  /** With `page`, a name of its own, what broke off is sent again. */
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

  /** Goes with the next that is told. */
  later(event: PageEvent): void {
    this.#waiting.push(event);
  }

  /** Resolves when the ledger has it. */
  tell(event: PageEvent): Promise<void> {
    this.#waiting.push(event);
    // Everything that waits goes with the next request, and shares its promise.
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
