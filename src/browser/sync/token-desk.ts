/**
 * Asks pages for a token, the leader's own first, then each other tab in turn, until one says null or gives a
 * token that the edge has not refused. A page that has no provider says so at once. A page that does not answer within
 * ten seconds is passed over, and comes last from then on. Otherwise a few frozen tabs would keep the last page from
 * being asked. The question whether a page is seen goes to all pages at once.
 *
 *   undefined   no page has a provider: the edge may want no token
 *   null        nobody is signed in
 *   rejection   a provider failed, or none answered
 *
 * A page on which somebody has signed in or out says so by itself (`said`). That counts before what other pages know.
 */
import { TidemarkError } from "../../errors.ts";
import type { TokenReason } from "../../sync/sync-host.ts";
import type { SyncNews } from "./words.ts";

const PAGE_MS = 10_000;
const SEEN_MS = 1_000;
/** For this long what a page has said answers all links that ask. */
const SAID_MS = 1_000;

/** What is needed of a tab's port. */
export interface TokenPage {
  tell(event: { readonly type: "sync"; readonly event: SyncNews }): void;
}

interface Answer {
  readonly token?: string | null | undefined;
  /** Why there is no answer. */
  readonly failed?: string | true | undefined;
  readonly isHidden?: boolean | undefined;
}

export class TokenDesk {
  readonly #pages: () => Iterable<TokenPage>;
  readonly #waiting = new Map<number, (answer: Answer | undefined) => void>();
  /** Pages that have not answered when they were asked last. */
  readonly #silent = new WeakSet<TokenPage>();
  /** A page may answer another leader's question late, and that must be no answer here. */
  #nextId = Math.random();
  #said: string | null | undefined;
  #forgetting: ReturnType<typeof setTimeout> | undefined;

  constructor(pages: () => Iterable<TokenPage>) {
    this.#pages = pages;
  }

  /** What a page's provider gives now. Others are not asked at once after this. */
  said(token: string | null): void {
    clearTimeout(this.#forgetting);
    this.#said = token;
    this.#forgetting = setTimeout(() => (this.#said = undefined), SAID_MS);
  }

  /** `refused` is given only if no page has another token. */
  async token(reason: TokenReason, refused?: string): Promise<string | null | undefined> {
    if (this.#said !== undefined && this.#said !== refused) return this.#said;
    let isSilent = false;
    let why: string | undefined;
    let isRefused = false;
    const silent = (page: TokenPage): number => Number(this.#silent.has(page));
    for (const page of [...this.#pages()].sort((a, b) => silent(a) - silent(b))) {
      const answer = await this.#ask(page, reason);
      this.#silent[answer ? "delete" : "add"](page);
      const { token, failed } = answer ?? { failed: true };
      if (failed) {
        isSilent = true;
        // A page of an earlier version says only that its function has failed.
        if (failed !== true) why ??= String(failed);
      } else if (token === refused) isRefused ||= token !== undefined;
      else if (token !== undefined) return token;
    }
    if (isRefused) return refused;
    if (isSilent) throw new TidemarkError("TIMEOUT", why ?? "no page gave a token", { reason });
    return undefined;
  }

  #ask(page: TokenPage, reason: TokenReason): Promise<Answer | undefined> {
    return this.#asked(page, PAGE_MS, (id) => ({ type: "ask-token", id, ask: { reason } }));
  }

  #asked(page: TokenPage, ms: number, question: (id: number) => SyncNews): Promise<Answer | undefined> {
    const id = this.#nextId++;
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.answered(id, undefined), ms);
      this.#waiting.set(id, (answer) => {
        clearTimeout(timer);
        resolve(answer);
      });
      page.tell({ type: "sync", event: question(id) });
    });
  }

  /** True if a page says within a second that it is seen. A frozen page does not answer. */
  async isSeen(): Promise<boolean> {
    const pages = [...this.#pages()];
    const answers = pages.map((page) => this.#asked(page, SEEN_MS, (id) => ({ type: "ask-seen", id })));
    return (await Promise.all(answers)).some((answer) => answer?.isHidden === false);
  }

  answered(id: number, answer: Answer | undefined): void {
    const resolve = this.#waiting.get(id);
    this.#waiting.delete(id);
    resolve?.(answer);
  }
}
