/**
 * A place where pages get their tokens: GET /?sub=ann answers a token of HS256 that lives for some seconds, as JSON;
 * &seconds=60 says how many. It can be told to give bad ones.
 *
 *   refused    signed with another secret: the edge refuses it
 *   expired    ended a minute ago
 *   failing    503: the page's token function rejects
 *   nobody     null: nobody is signed in
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { SignJWT } from "jose";

export type TokenFault = "refused" | "expired" | "failing" | "nobody";

export const SECRET = "a secret of at least thirty-two characters";
const OTHER_SECRET = "another secret of thirty-two characters or more";

export async function tokenOf(sub: string, seconds: number, secret = SECRET): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  return new SignJWT({ scope: "read:** write:**", tenant: "acme", sub })
    .setProtectedHeader({ alg: "HS256" })
    .setIssuedAt(now)
    .setExpirationTime(now + seconds)
    .sign(new TextEncoder().encode(secret));
}

export class TokenServer {
  readonly #server: Server;
  readonly #seconds: number;
  readonly #faults = new Map<string, TokenFault>();
  readonly counts: Record<string, number> = {};

  private constructor(seconds: number) {
    this.#seconds = seconds;
    this.#server = createServer((request, response) => {
      const asked = new URL(request.url!, "http://localhost").searchParams;
      void this.#answer(asked.get("sub") ?? "", Number(asked.get("seconds") ?? this.#seconds)).then(([status, body]) =>
        response
          .writeHead(status, { "content-type": "application/json", "access-control-allow-origin": "*" })
          .end(JSON.stringify(body)),
      );
    });
  }

  static async start(seconds: number): Promise<TokenServer> {
    const made = new TokenServer(seconds);
    await new Promise<void>((resolve) => made.#server.listen(0, "127.0.0.1", resolve));
    return made;
  }

  /** The next token for `sub` is a bad one. */
  spoil(sub: string, fault: TokenFault): void {
    this.#faults.set(sub, fault);
  }
  /** Tokens are good again, also those that nobody asked for meanwhile. */
  heal(): void {
    this.#faults.clear();
  }

  /** Its tokens live for `seconds`; by default as long as the server was told. */
  urlOf(sub: string, seconds = this.#seconds): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/?sub=${sub}&seconds=${seconds}`;
  }

  async #answer(sub: string, seconds: number): Promise<readonly [status: number, body: string | null]> {
    const fault = this.#faults.get(sub);
    this.#faults.delete(sub);
    const what = fault ? `tokens: ${fault}` : "tokens given";
    this.counts[what] = (this.counts[what] ?? 0) + 1;
    if (fault === "failing") return [503, null];
    if (fault === "nobody") return [200, null];
    if (fault === "refused") return [200, await tokenOf(sub, seconds, OTHER_SECRET)];
    return [200, await tokenOf(sub, fault === "expired" ? -60 : seconds)];
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
