/** Reads a request's body whole and within its limit. An isolate limits how much all its large bodies hold together. */
import { concat } from "../../src/record/bytes.ts";
import { badRequest, EdgeError } from "../errors.ts";

/** Largest body of one request. More data go in several requests. */
export const BODY_BYTES_MAX = 16 * 1024 * 1024;

/** A body that is shorter than its length says, or badly chunked, is the sender's fault. */
function refused(thrown: unknown): never {
  throw EdgeError.isOne(thrown) ? thrown : badRequest("the body broke off");
}

export function readBody(request: Request, max = BODY_BYTES_MAX): Promise<Uint8Array> {
  const length = Number(request.headers.get("content-length") ?? 0);
  // The runtime makes sure that a body has the length that it names. Asking for its stream would make one.
  return length > 0 && length <= Math.min(max, AT_ONCE_BYTES)
    ? request.arrayBuffer().then((buffer) => new Uint8Array(buffer), refused)
    : inPieces(request, length, max).catch(refused);
}

/** A body of up to this size is read by the runtime in one piece. */
const AT_ONCE_BYTES = 1024 * 1024;
/**
 * Limit of the bytes of larger bodies that this isolate is reading. Only bytes that have arrived count, so that a slow
 * sender does not block others.
 */
const HELD_BYTES_MAX = 64 * 1024 * 1024;
let held = 0;

async function inPieces(request: Request, named: number, max: number): Promise<Uint8Array> {
  if (request.body === null) return new Uint8Array(0);
  let length = named;
  const check = (): void => {
    if (length > max)
      throw new EdgeError(
        "TOO_LARGE",
        `the body of this request has at most ${max} bytes: send the rest in further requests`,
      );
  };
  check();
  const parts: Uint8Array[] = [];
  length = 0;
  try {
    for await (const part of request.body) {
      length += part.length;
      held += part.length;
      check();
      if (held > HELD_BYTES_MAX) {
        throw new EdgeError("BACKPRESSURE", "too many large bodies are being read here", {
          heldBytesMax: HELD_BYTES_MAX,
        });
      }
      parts.push(part);
    }
  } finally {
    held -= length;
  }
  return concat(parts);
}
