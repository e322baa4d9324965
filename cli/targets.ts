/**
 * What a command reads and writes: a folder of tidemark/node, or an edge. Both give records whose values are bytes, and
 * take encoded batches, so that a batch can be sent again unchanged by a later process.
 */
import { existsSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import type { PlainRecord } from "../src/delivery/read-record.ts";
import { TidemarkError } from "../src/errors.ts";
import { loadKernel } from "../src/kernel/load.ts";
import type { Kernel } from "../src/kernel/types.ts";
import { DEFAULT_SETTINGS } from "../src/log/limits.ts";
import type { StartPosition } from "../src/log/types.ts";
import type { SegmentsImported } from "../src/browser/api.ts";
import { SEGMENT_BYTES } from "../src/browser/page/open-options.ts";
import { kernelFile } from "../src/node/kernel-file.ts";
import { NodeTide } from "../src/node/node-tide.ts";
import type { KafkaFiles } from "../src/store/kafka-files.ts";
import { checkTopicName } from "../src/topic/names.ts";
import { timeOf } from "../src/topic/time-text.ts";
import { Failure, UsageError } from "./failure.ts";
import { FolderReader } from "./folder-reader.ts";
import { withFiles } from "./repacked-files.ts";
import type { Appended, LogTarget, NewTopic, Place, ReadFrom, Sending } from "./target.ts";

export interface TargetOptions extends NewTopic {
  /**
   * The use of a folder. "read", the default, takes no lock. "change" and "create" do, and "create" makes a tide
   * of a folder that has none.
   */
  readonly access?: "read" | "change" | "create";
  readonly token?: string | undefined;
}

let loaded: Promise<Kernel> | undefined;
export const ownKernel = (): Promise<Kernel> => (loaded ??= readFile(kernelFile()).then(loadKernel));

/** A name, a colon and the number of a port: rather an address without its http:// than a folder. */
const HOST_AND_PORT = /^[\w.-]+:\d{1,5}(\/|$)/;

/** True for the address of an edge. */
export const isEdge = (target: string): boolean => /^https?:\/\//.test(target);

export async function openTarget(
  target: string,
  { access = "read", token, as, contentType }: TargetOptions = {},
): Promise<LogTarget> {
  const kernel = await ownKernel();
  if (isEdge(target)) {
    const { edgeTarget } = await import("./edge-target.ts");
    return edgeTarget(target, token, kernel, { as, contentType });
  }
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(target))
    throw new UsageError(`${target}: a TARGET is a folder, or an address that begins with http:// or https://`);
  const folder = path.resolve(target);
  if (HOST_AND_PORT.test(target) && !existsSync(folder))
    throw new UsageError(`${target}: an edge's address begins with http:// or https://, and there is no such folder`);
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() === false)
    throw new UsageError(`${target} is a file: a TARGET is a folder of tidemark/node, or the address of an edge`);
  if (access === "read") return new FolderReader(folder, kernel);
  const mustExist = access === "change";
  return new FolderTarget(await NodeTide.open({ folder, segmentBytes: SEGMENT_BYTES, mustExist, kernel }), kernel);
}

class FolderTarget implements LogTarget {
  readonly where: string;
  readonly batchBytesMax: number;
  readonly #tide: NodeTide;

  constructor(
    tide: NodeTide,
    readonly kernel: Kernel,
  ) {
    this.#tide = tide;
    this.where = tide.name;
    this.batchBytesMax = Math.min(DEFAULT_SETTINGS.batchBytesMax, tide.opened.batchBytesMax);
  }

  topics(): Promise<readonly string[]> {
    return this.#tide.topics();
  }

  #topic(name: string) {
    return this.#tide.topic<Uint8Array>(name, { serializer: "bytes" });
  }

  async place(topic: string): Promise<Place | undefined> {
    checkTopicName(topic);
    if (!(await this.topics()).includes(topic)) return undefined;
    const {
      logStartOffset: start,
      logEndOffset: end,
      settings,
      segments,
      quarantined,
    } = await this.#topic(topic).state();
    return { start, end, details: { settings, segments, quarantined } };
  }

  async end(topic: string): Promise<number> {
    return (await this.place(topic))?.end ?? 0;
  }

  read(topic: string, { from, to, signal }: ReadFrom): AsyncIterable<PlainRecord<Uint8Array>> {
    return this.#topic(topic).read({ from, to, signal }) as AsyncIterable<PlainRecord<Uint8Array>>;
  }

  async resolve(topic: string, position: StartPosition): Promise<number> {
    const { offset } = await this.#tide.connection.call<{ offset: number }>({ op: "resolve", topic, position });
    return offset;
  }

  trim(topic: string, offset: number): Promise<void> {
    return this.#topic(topic).trim(offset);
  }

  append(topic: string, batch: Uint8Array, { ifEnd, since, isResent }: Sending): Promise<Appended> {
    checkTopicName(topic);
    const sending = { acks: "flushed", fromZero: true, ifEnd, resentSince: isResent ? since : undefined } as const;
    return this.#tide.connection.append({ topic, batch, ...sending });
  }

  async *segments(topic: string, from: number): AsyncIterable<KafkaFiles> {
    const { segments } = await this.#topic(topic).state();
    for (const { baseOffset, nextOffset, bytes } of segments)
      if (nextOffset > from && bytes > 0) yield await this.#topic(topic).exportSegment(baseOffset);
  }

  async take(topic: string, files: readonly string[]): Promise<SegmentsImported> {
    checkTopicName(topic);
    return withFiles(files, this.kernel, (all) => this.#topic(topic).importSegments(all));
  }

  close(): Promise<void> {
    return this.#tide.close();
  }
}

/** What -o and --from say: earliest, latest, an offset, -N for the last N, or a time (ISO 8601). */
export function positionOf(option: string, text: string): StartPosition {
  if (text === "earliest" || text === "latest") return text;
  if (/^\d{1,16}$/.test(text) && Number.isSafeInteger(Number(text))) return Number(text);
  if (/^-\d{1,16}$/.test(text)) return { last: -Number(text) };
  const timestamp = timeOf(text);
  if (Number.isNaN(timestamp))
    throw new UsageError(
      `--${option} ${text}: it must be earliest, latest, an offset, -N for the last N records, or a time that ` +
        `exists, such as 2026-11-29T12:00:00Z`,
    );
  return { timestamp };
}

/** OFFSET_OUT_OF_RANGE: an offset that the log never had, or has not any more. */
export function checkPosition({ start, end }: Pick<Place, "start" | "end">, position: StartPosition): void {
  if (typeof position !== "number" || (position >= start && position <= end)) return;
  throw new TidemarkError("OFFSET_OUT_OF_RANGE", `offset ${position} is not in the log, which has ${start} to ${end}`);
}

/** Topics that a message names. */
const NAMED_MAX = 20;

/** The topic's place, which must exist. */
export async function placeOf(target: LogTarget, topic: string, signal?: AbortSignal): Promise<Place> {
  const place = await target.place(topic, signal);
  if (place) return place;
  const names = await target.topics(NAMED_MAX).then(
    (topics) => (topics.length === 0 ? "" : `; there are ${topics.slice(0, NAMED_MAX).join(", ")}`),
    // An address that has no topics at all is more than a topic that is not made yet.
    (thrown: unknown) => (thrown instanceof Failure ? `; ${thrown.message}` : ""),
  );
  throw new Failure(`there is no topic ${topic} in ${target.where}${names}`);
}
