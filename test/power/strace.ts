/**
 * The same history as the operating system saw it: the system calls of all the browser's processes, in order.
 *
 *   what the worker did     write   flush      truncate   ack
 *   what the kernel saw     pwrite  fdatasync  ftruncate  pwrite of a mark
 *
 * `matchFiles` compares the two, call by call, and returns a trace with the bytes and the order that the kernel saw.
 * Images are made from that trace.
 */
import { spawnSync } from "node:child_process";
import { chmod, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { MARK } from "./marks.ts";
import type { Bytes, Trace, TraceEvent } from "./trace.ts";

export interface SystemCall {
  readonly call: "pwrite64" | "ftruncate" | "fdatasync" | "fsync";
  readonly file: string;
  readonly data: Bytes;
  /** Position of a write, or the size of a truncate. */
  readonly number: number;
}

/** Batches are compared from here on: the store writes the leader epoch in front of it later. */
const BEHIND_EPOCH = 16;
const CALLS = "pwrite64,ftruncate,fdatasync,fsync";

/** Undefined where strace works, else the reason why not. */
export function whyNoStrace(): string | undefined {
  const { status, error, stderr } = spawnSync(
    "strace",
    ["-f", "-y", "-xx", "--seccomp-bpf", "-o", "/dev/null", "true"],
    { encoding: "utf8" },
  );
  if (error) return "strace is not installed";
  return status === 0 ? undefined : `strace does not work here: ${stderr.trim().split("\n")[0]}`;
}

/** Writes a program that starts Chromium under strace. */
export async function makeLauncher(directory: string, chromium: string): Promise<{ launcher: string; output: string }> {
  const [launcher, output] = [path.join(directory, "chromium-under-strace"), path.join(directory, "calls")];
  await writeFile(
    launcher,
    `#!/bin/sh\nexec strace -f -y -xx -s 1000000 --seccomp-bpf -e trace=${CALLS} -o '${output}' '${chromium}' "$@"\n`,
  );
  await chmod(launcher, 0o755);
  return { launcher, output };
}

const unescape = (text: string): Bytes => new Uint8Array(Buffer.from(text.replaceAll("\\x", ""), "hex"));

/** The calls on files below a folder of this name, ordered by when they returned. */
export async function readCalls(output: string, folder: string): Promise<SystemCall[]> {
  const calls: SystemCall[] = [];
  const begun = new Map<string, string>();
  for (const line of (await readFile(output, "latin1")).split("\n")) {
    const [, process, rest] = /^(\d+)\s+(.*)$/.exec(line) ?? [];
    if (process === undefined || rest === undefined) continue;
    if (rest.endsWith("<unfinished ...>")) {
      begun.set(process, rest.slice(0, -"<unfinished ...>".length));
      continue;
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest);
    const whole = resumed ? (begun.get(process) ?? "") + resumed[1]! : rest;
    const [, call, name, args, result] = /^(\w+)\(\d+<([^>]*)>(.*)\)\s+= (-?\d+)/.exec(whole) ?? [];
    if (call === undefined || name === undefined || args === undefined || Number(result) < 0) continue;
    const file = Buffer.from(unescape(name)).toString();
    if (!file.includes(`/${folder}/`)) continue;
    const [, text = "", number = "0"] = /^, (?:"([^"]*)", \d+, )?(\d+)/.exec(args) ?? [];
    calls.push({
      call: call as SystemCall["call"],
      file,
      data: unescape(text).subarray(0, text ? Number(result) : 0),
      number: Number(number),
    });
  }
  return calls;
}

const markIn = ({ call, data }: SystemCall): number | undefined => {
  const text = call === "pwrite64" ? Buffer.from(data).toString("latin1") : "";
  return text.startsWith(MARK) ? Number(text.slice(MARK.length)) : undefined;
};

/** The numbered files that hold the contents of OPFS files, without the databases that map names to them. */
const isBacking = ({ file }: SystemCall): boolean => /\/\d{8}$/.test(file);

export interface Matched {
  /** The trace with the kernel's calls in place of the worker's. */
  readonly trace: Trace;
  readonly writes: number;
  /** Acks as `flushed`. Each came after a sync of the file that its batch was written to. */
  readonly flushedAcks: number;
  readonly syncs: number;
}

/** Throws where the kernel's calls differ from the recorder's or have another order. */
export function matchFiles(trace: Trace, all: readonly SystemCall[]): Matched {
  const calls = all.filter(isBacking);
  const backing = new Map<string, string>();
  const unsynced = new Set<string>();
  /** Batches of this life that no file had yet, and the file of each that was found. */
  const sent = new Map<number, Buffer>();
  const homes = new Map<number, string>();
  const seen = { writes: 0, syncs: 0, flushedAcks: 0 };
  let at = 0;
  let lifeFrom = 0;
  const events = trace.events.map((event, number): TraceEvent => {
    if (event.kind === "life") {
      lifeFrom = number + 1;
      sent.clear();
      homes.clear();
    }
    if (event.kind === "sent") sent.set(event.id, Buffer.from(event.data.subarray(BEHIND_EPOCH)));
    const isMarked = event.kind === "ack" || event.kind === "tx" || event.kind === "tx-done";
    if (!isMarked && event.kind !== "write" && event.kind !== "flush" && event.kind !== "truncate") return event;
    const call = calls[at++];
    const fail = (what: string): never => {
      throw new Error(
        `event ${number} is ${event.kind}${"file" in event ? ` of ${event.file}` : ""}: ${what}; the kernel saw ` +
          `${call?.call} of ${call?.file}`,
      );
    };
    if (!call) return fail("the kernel saw no more calls");
    if (isMarked) {
      if (markIn(call) !== number - lifeFrom) fail("its mark is not next");
      if (event.kind === "ack" && event.acks === "flushed") {
        seen.flushedAcks++;
        const home = homes.get(event.id) ?? fail("its batch is in no file");
        if (unsynced.has(home)) fail(`${home} is not synced`);
      }
      return event;
    }
    if ((backing.get(event.file) ?? call.file) !== call.file) fail(`another file than ${backing.get(event.file)}`);
    backing.set(event.file, call.file);
    if (event.kind === "flush") {
      if (call.call !== "fdatasync" && call.call !== "fsync") fail("not a sync");
      unsynced.delete(event.file);
      seen.syncs++;
      return event;
    }
    if (event.kind === "truncate") {
      if (call.call !== "ftruncate" || call.number !== event.size) fail("not this truncate");
      return { ...event, size: call.number };
    }
    if (call.call !== "pwrite64" || call.number !== event.at || Buffer.compare(call.data, event.data) !== 0)
      fail("not this write");
    unsynced.add(event.file);
    for (const [id, batch] of sent)
      if (Buffer.from(call.data).includes(batch) && sent.delete(id)) homes.set(id, event.file);
    seen.writes++;
    return { ...event, at: call.number, data: call.data };
  });
  if (at !== calls.length) throw new Error(`the kernel saw ${calls.length - at} calls more than the worker made`);
  return { trace: { ...trace, events }, ...seen };
}

/**
 * Counts strict transactions. Throws if the database's log was not synced between the commit and the end of one.
 */
export function matchTransactions(
  trace: Trace,
  calls: readonly SystemCall[],
): { readonly strict: number; readonly relaxed: number; readonly syncs: number } {
  const seen = { strict: 0, relaxed: 0, syncs: 0 };
  const begun = new Map<number, number>();
  let lifeFrom = 0;
  let at = 0;
  for (const [number, event] of trace.events.entries()) {
    if (event.kind === "life") lifeFrom = number + 1;
    if (event.kind !== "tx" && event.kind !== "tx-done" && event.kind !== "ack") continue;
    for (; ; at++) {
      const call = calls[at];
      if (!call) throw new Error(`event ${number} left no mark`);
      if (/\.leveldb\/\d+\.log$/.test(call.file) && call.call !== "pwrite64") seen.syncs++;
      if (markIn(call) === number - lifeFrom) break;
    }
    at++;
    if (event.kind === "tx" && event.durability === "strict") begun.set(event.id, seen.syncs);
    if (event.kind === "tx" && event.durability !== "strict") seen.relaxed++;
    const before = event.kind === "tx-done" ? begun.get(event.id) : undefined;
    if (before === undefined) continue;
    begun.delete((event as { id: number }).id);
    seen.strict++;
    if (seen.syncs === before) throw new Error(`event ${number}: a strict transaction ended without a sync`);
  }
  return seen;
}
