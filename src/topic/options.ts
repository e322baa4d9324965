/**
 * Options of a topic's calls, which are checked the same way in the browser and at the edge, and the defaults of a
 * topic's producer.
 */
import { type Check, callback, flag, integer, oneOf, refused, signal } from "./check.ts";

/**
 * A batch is sent when this many bytes wait: costs per batch become negligible, and the first ack is not delayed much.
 */
export const BATCH_BYTES = 256 * 1024;

/** The 53 upper ones of 64 random bits: two producers that ever draw the same id would need some 10^8 draws. */
export const producerIdOf = ([random]: BigUint64Array): number => Number(random! >> 11n);

const acks = oneOf("accepted", "written", "flushed");
const offset = integer(0);
/** Where a read or a copy begins. A copy takes no offset. */
export const position = (field: string, value: unknown, takesOffset = true): void => {
  if (value === "earliest" || value === "latest") return;
  if (takesOffset && typeof value === "number") return offset(field, value);
  const { timestamp, last, ...others } = Object(value) as { timestamp?: unknown; last?: unknown };
  if ((timestamp === undefined) === (last === undefined) || Object.keys(others)[0])
    throw refused(field, value, `"earliest", "latest", ${takesOffset ? "an offset, " : ""}{ timestamp } or { last }`);
  if (last !== undefined) offset(`${field}.last`, last);
  else finite(`${field}.timestamp`, timestamp);
};

/** A time may have a fraction, as performance.timeOrigin has. */
export const finite: Check = (field, value) => {
  if (!(typeof value === "number" && Math.abs(value) <= Number.MAX_SAFE_INTEGER))
    throw refused(field, value, "a number of milliseconds since 1970");
};

export const APPEND_OPTIONS = { acks, ifEnd: offset };
export const APPEND_ALL_OPTIONS = { acks, signal, onProgress: callback };
/** `copy` is looked at where changes begin (topic-changes.ts). */
export const CHANGES_OPTIONS = { from: position, copy() {}, signal };
export const READ_OPTIONS = {
  from: position,
  to: offset,
  follow: flag,
  isolation: oneOf("committed", "provisional"),
  signal,
  maxBytes: /* @__PURE__ */ integer(1),
};
/** Options that topics of both hosts have. Each host checks its own in addition. */
export const PRODUCER_OPTIONS = {
  codec: oneOf("none", "gzip"),
  acks,
  batchBytes: /* @__PURE__ */ integer(1),
  inFlightBytesMax: /* @__PURE__ */ integer(1),
};

/** Any of these makes a topic one with a schema or middleware, or a refused one. The part for that looks at them. */
export const TYPING = ["schema", "schemaName", "version", "upcast", "onInvalid", "use"] as const;
