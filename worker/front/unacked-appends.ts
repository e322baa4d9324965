/**
 * Bounds the bytes of appends that wait for their answer: those of one log, by the credits that its client was given,
 * and those of all logs on a socket. The only append that waits may be of any size.
 */
import { EdgeError } from "../errors.ts";
import { APPEND_CREDIT_BYTES } from "../../src/sync/frames.ts";

/** Limit of the bytes on all channels of a socket. */
const UNACKED_BYTES_MAX = 32 * 1024 * 1024;

export interface AppendedTo {
  /** Bytes of its appends without an answer. */
  unacked: number;
}

export class UnackedAppends {
  #bytes = 0;

  /** Counts an append until its answer gives the credits back. BACKPRESSURE beyond a limit. */
  add(channel: AppendedTo, bytes: number): void {
    if (channel.unacked > 0 && channel.unacked + bytes > APPEND_CREDIT_BYTES)
      throw new EdgeError("BACKPRESSURE", "more than this log's credits: wait for answers", {
        creditBytes: APPEND_CREDIT_BYTES,
      });
    if (this.#bytes > 0 && this.#bytes + bytes > UNACKED_BYTES_MAX)
      throw new EdgeError("BACKPRESSURE", "too many bytes of appends are unanswered on this socket; wait for answers", {
        unackedBytesMax: UNACKED_BYTES_MAX,
      });
    channel.unacked += bytes;
    this.#bytes += bytes;
  }

  /** Counts an answer, which may give back more than the channel has. */
  acked(channel: AppendedTo, bytes: number): void {
    const acked = Math.min(bytes, channel.unacked);
    channel.unacked -= acked;
    this.#bytes -= acked;
  }
}
