/**
 * Asks pages for a token, the leader's own first, then each other tab in turn. A page that has no provider says so at
 * once; one that does not answer within ten seconds is passed over.
 *
 *   undefined   no page has a provider: the edge may want no token
 *   null        nobody is signed in
 *   rejection   a provider failed, or none answered
 */
import { TidemarkError } from "../../errors.ts";
import type { TokenReason } from "../../sync/sync-host.ts";
import type { SyncNews } from "./words.ts";

const PAGE_MS = 10_000;

/** What is needed of a tab's port. */
export interface TokenPage {
  tell(event: { readonly type: "sync"; readonly event: SyncNews }): void;
}

interface Answer {
  readonly token?: string | null | undefined;
  readonly failed?: boolean | undefined;
}

export class TokenDesk {
  readonly #pages: () => Iterable<TokenPage>;
  readonly #waiting = new Map<number, (answer: Answer | undefined) => void>();
  #nextId = 1;

  constructor(pages: () => Iterable<TokenPage>) {
    this.#pages = pages;
  }

  async token(reason: TokenReason): Promise<string | null | undefined> {
    let isSilent = false;
    for (const page of [...this.#pages()]) {
      const answer = await this.#ask(page, reason);
      if (answer && !answer.failed && answer.token !== undefined) return answer.token;
      isSilent ||= answer === undefined || answer.failed === true;
    }
    if (isSilent) throw new TidemarkError("TIMEOUT", "no page gave a token", { reason });
    return undefined;
  }

  #ask(page: TokenPage, reason: TokenReason): Promise<Answer | undefined> {
    const id = this.#nextId++;
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.answered(id, undefined), PAGE_MS);
      this.#waiting.set(id, (answer) => {
        clearTimeout(timer);
        resolve(answer);
      });
      page.tell({ type: "sync", event: { type: "ask-token", id, ask: { reason } } });
    });
  }

  answered(id: number, answer: Answer | undefined): void {
    const resolve = this.#waiting.get(id);
    this.#waiting.delete(id);
    resolve?.(answer);
  }
}
