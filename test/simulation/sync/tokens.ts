/**
 * Tokens of a simulation of sync: texts in the form of a JWT, which the edge's front reads and nobody signs.
 *
 *   provider ─▶ good │ short │ expired │ another owner's │ may not write │ null │ rejects │ late     the page
 *   front    ─▶ 401: expired or withdrawn │ 403 │ the owner                                            the edge's side
 */
import type { Random } from "../prng.ts";

export interface Token {
  readonly owner: string;
  /** Seconds since 1970. */
  readonly exp: number;
  readonly iat: number;
  readonly write: boolean;
  readonly n: number;
}

/** Twelve characters, as the edge's own. */
export const OWNER = "AAAAAAAAAAAA";
export const OTHER_OWNER = "BBBBBBBBBBBB";

/** With the claims by which a device knows whose it is. */
export const tokenText = (token: Token): string =>
  `h.${btoa(JSON.stringify({ ...token, tenant: "t", sub: token.owner })).replaceAll("=", "")}.s`;
export const tokenOf = (text: string): Token => JSON.parse(atob(text.split(".")[1]!)) as Token;

export const TOKEN_FAULTS = [
  "token short",
  "token expired",
  "token of another owner",
  "token without write",
  "token null",
  "token rejected",
  "token late",
  "token again",
] as const;
export type TokenFault = (typeof TOKEN_FAULTS)[number];

export interface TokenDeskHost {
  readonly random: Random;
  /** The edge's clock, milliseconds. */
  now(): number;
  /** False once all is to heal: every token is good. */
  mayFail(): boolean;
  count(fault: TokenFault): void;
  sleep(ms: number): Promise<void>;
}

const LIFE_S = 3_600;
const LATE_MS = 60_000;

/** What a page's token function answers. */
export class TokenDesk {
  readonly #host: TokenDeskHost;
  #made = 0;
  #last: string | undefined;

  constructor(host: TokenDeskHost) {
    this.#host = host;
  }

  async token(): Promise<string | null> {
    const { random } = this.#host;
    const fault = this.#host.mayFail() && random.chance(0.2) ? random.pick(TOKEN_FAULTS) : undefined;
    if (fault) this.#host.count(fault);
    if (fault === "token late") await this.#host.sleep(random.int(LATE_MS));
    if (fault === "token null") return null;
    if (fault === "token rejected") throw new Error("the page has no token now");
    if (fault === "token again" && this.#last !== undefined) return this.#last;
    const iat = Math.floor(this.#host.now() / 1000);
    const life = fault === "token short" ? random.between(2, 30) : fault === "token expired" ? -10 : LIFE_S;
    const owner = fault === "token of another owner" ? OTHER_OWNER : OWNER;
    const token = { owner, exp: iat + life, iat, write: fault !== "token without write", n: this.#made++ };
    this.#last = tokenText(token);
    return this.#last;
  }
}
