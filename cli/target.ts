/** What commands need of what they read and write (targets.ts opens one). */
import type { PlainRecord } from "../src/delivery/read-record.ts";
import type { SegmentsImported } from "../src/browser/api.ts";
import type { Kernel } from "../src/kernel/types.ts";
import type { StartPosition } from "../src/log/types.ts";
import type { KafkaFiles } from "../src/store/kafka-files.ts";
import type { LinesAs } from "./lines.ts";

export interface Place {
  readonly start: number;
  readonly end: number;
  /** Content type of a topic at an edge. Undefined in a folder. */
  readonly contentType?: string | undefined;
  /** For people: settings, segments, damage. */
  readonly details: Readonly<Record<string, unknown>>;
}

export interface ReadFrom {
  readonly from: StartPosition;
  readonly to?: number | undefined;
  /** Stays, and gives what comes. */
  readonly follow?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** What an edge makes of a topic that is not there. */
export interface NewTopic {
  /** What is appended: the content type is the one that fits. */
  readonly as?: LinesAs | undefined;
  /** The content type, where it is known. */
  readonly contentType?: string | undefined;
}

export interface Sending {
  readonly ifEnd?: number | undefined;
  /** The log ended there, or later, before the batch was first sent. */
  readonly since: number;
  /** The log may have the batch already. */
  readonly isResent: boolean;
  /** A topic that does not exist is made; otherwise it is UNKNOWN_TOPIC. */
  readonly makes: boolean;
  /** Called after a try whose outcome is unknown, before the target tries again or gives up. */
  readonly onDoubt?: () => void;
}

export interface Appended {
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly duplicate: boolean;
}

/** `signal`: ends requests to an edge with its reason, also between two tries. A folder is done before it matters. */
export interface LogTarget {
  readonly where: string;
  readonly kernel: Kernel;
  readonly batchBytesMax: number;
  /** Names of all topics that the token may read, or of some: at least `enough`, if there are so many. */
  topics(enough?: number): Promise<readonly string[]>;
  /** Undefined if there is no such topic. */
  place(topic: string, signal?: AbortSignal): Promise<Place | undefined>;
  /** Where the log ends; 0 if there is no such topic. Undefined: the token may only append, and is not told. */
  end(topic: string): Promise<number | undefined>;
  read(topic: string, from: ReadFrom): AsyncIterable<PlainRecord<Uint8Array>>;
  /** The log's part of one append. The batch has a producer, whose sequences began at 0. */
  append(topic: string, batch: Uint8Array, sending: Sending): Promise<Appended>;
  /** The offset that this position means. */
  resolve(topic: string, position: StartPosition): Promise<number>;
  /** Removes the records before this offset. OFFSET_OUT_OF_RANGE: beyond the end. */
  trim(topic: string, offset: number, signal?: AbortSignal): Promise<void>;
  /** Each segment as Kafka's files, from the one that has this offset. */
  segments(topic: string, from: number, signal?: AbortSignal): AsyncIterable<KafkaFiles>;
  /**
   * Takes .log files with their offsets, all or nothing. An edge goes on where an earlier call was stopped. Not where
   * a target only reads.
   */
  take?(topic: string, files: readonly string[], signal?: AbortSignal): Promise<SegmentsImported>;
  close(): Promise<void>;
}
