/**
 * Asks the object of a topic, for code inside a Worker, and says every failure as the library does: what the object
 * refuses, and what the platform throws for an object that was reset, moved, is overloaded or can't be reached
 * (rpc/lost.ts has the words, as for requests from outside).
 *
 *   a read, and the making of a log   asked once more by a new stub, then CLOSED or BACKPRESSURE
 *   a change                          OUTCOME_UNKNOWN, or BACKPRESSURE
 */
import { type ErrorDetails, TidemarkError } from "../../src/errors.ts";
import { libraryNameOf } from "../../src/sync/edge-codes.ts";
import { EdgeError, type EdgeWireError } from "../errors.ts";
import { askedAgain, lostChange } from "../rpc/lost.ts";
import { PATH_HEADER, TENANT_HEADER } from "../rpc/internal-headers.ts";
import { streamObject } from "../rpc/stubs.ts";
import { ERROR_HEADER } from "../wire/error-status.ts";
import { encodePath, STREAM_PREFIX } from "../wire/paths.ts";
import type { TopicEnv } from "./api.ts";

export interface ObjectAsk {
  readonly method: string;
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** For a change: the advice in the error if nobody knows whether the change was made. */
  readonly again?: string;
}

export class AskedObject {
  constructor(
    readonly env: TopicEnv,
    readonly tenant: string,
    readonly path: string,
  ) {}

  url(query = ""): string {
    return `https://tidemark.invalid${STREAM_PREFIX}${encodePath(this.path)}${query}`;
  }

  /** The object's answer, with its whole body: an object that is lost while that comes is lost as well. */
  async ask(asked: ObjectAsk): Promise<Response> {
    const once = (): Promise<Response> => this.#once(asked);
    try {
      if (asked.method !== "POST") return await askedAgain(once);
      return await once().catch(async (thrown: unknown) => {
        throw await lostChange(thrown, () => this.#once({ method: "HEAD" }), asked.again);
      });
    } catch (thrown) {
      throw EdgeError.isOne(thrown) ? libraryError(EdgeError.from(thrown).toWire()) : thrown;
    }
  }

  async #once({ method, query, headers = {}, body }: ObjectAsk): Promise<Response> {
    const own = {
      ...headers,
      [PATH_HEADER]: encodeURIComponent(this.path),
      [TENANT_HEADER]: encodeURIComponent(this.tenant),
    };
    const asked = new Request(this.url(query), { method, headers: own, ...(body && { body: body as BodyInit }) });
    const response = await streamObject(this.env, this.tenant, this.path).fetch(asked);
    if (!response.body || "upgrade" in headers) return response;
    return new Response(await response.arrayBuffer(), response);
  }
}

export async function errorOf(response: Response): Promise<TidemarkError> {
  const { error } = (await response.json().catch(() => ({}))) as { error?: EdgeWireError };
  const { headers, status } = response;
  // An answer to HEAD has no body.
  return libraryError(
    error ?? { code: headers.get(ERROR_HEADER) ?? "INTERNAL", message: `the log answered ${status}` },
    status,
  );
}

/** As tidemark/client names it; the details say what the edge calls it, where that is something else. */
export function libraryError(
  { code, message, details = {} }: { readonly code: string; readonly message: string; readonly details?: ErrorDetails },
  status?: number,
): TidemarkError {
  const error = TidemarkError.fromWire({ code: libraryNameOf(code), message, details });
  return error.code === code ? error : error.with({ edge: code, ...(status !== undefined && { status }) });
}

/** A closed log is CLOSED to its callers, and yet no log that is opened again and sent to once more. */
export const isClosedForGood = ({ code, details }: TidemarkError): boolean =>
  code === "CLOSED" && details["edge"] === "STREAM_CLOSED";
