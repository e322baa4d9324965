/**
 * How answers look, whoever makes them, and the one body of errors (`{ "error": { code, message, kind, details } }`).
 * error-status.ts has their status and headers.
 */
import { EdgeError, type EdgeWireError } from "../errors.ts";
import { headersOf, statusOf } from "./error-status.ts";

/**
 * An answer before it is a Response: an object can return it to the Worker by RPC, which then adds all headers at once.
 */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
}

export const jsonAnswer = (status: number, body: unknown, headers: Record<string, string> = {}): Answer => ({
  status,
  headers: { "content-type": "application/json", "cache-control": "no-store", ...headers },
  body: JSON.stringify(body),
});

export const responseOf = ({ status, headers, body }: Answer): Response => new Response(body, { status, headers });

export const json = (status: number, body: unknown, headers: Record<string, string> = {}): Response =>
  responseOf(jsonAnswer(status, body, headers));

/** True if the client has what has this ETag already: by If-None-Match, a list, or `*` for anything there is. */
export function hasTag({ headers }: { readonly headers: Headers }, etag: string): boolean {
  const known = headers.get("if-none-match");
  return known !== null && (known.trim() === "*" || known.includes(etag));
}

/** Anything thrown, in the form that all dialects report. An error that nobody threw on purpose is logged. */
function edgeErrorOf(thrown: unknown): EdgeError {
  if (!EdgeError.isOne(thrown)) {
    const message = String((thrown as Error | undefined)?.stack ?? thrown);
    console.error(JSON.stringify({ event: "error", message }));
  }
  return EdgeError.from(thrown);
}

/** The protocol wants these fields beside the code. */
const besideCode = ({ code, details }: EdgeError): object =>
  code === "ALREADY_CLAIMED" ? { current_holder: details["holder"], generation: details["generation"] } : {};

/** The answer for anything that was thrown. */
export function errorAnswer(thrown: unknown): Answer {
  const error = edgeErrorOf(thrown);
  return jsonAnswer(statusOf(error), { error: { ...error.toWire(), ...besideCode(error) } }, headersOf(error));
}

export const errorResponse = (thrown: unknown): Response => responseOf(errorAnswer(thrown));

/** The same for the error frame of a socket, whose payload is what HTTP has under `error`. */
export const wireErrorOf = (thrown: unknown): EdgeWireError => edgeErrorOf(thrown).toWire();

/** The error with which an object refused a request, from its answer. */
export async function refusalIn(response: Response): Promise<EdgeError> {
  const { error } = (await response.json().catch(() => ({}))) as { error?: unknown };
  return EdgeError.fromWire(error);
}
