/**
 * What a worker does for other tabs: it takes in guests (a further tab's port, for as long as that tab keeps it), and before it
 * leads it stands by, with all that can be known of the tide by then (standby-workers.ts).
 */
import { TidemarkError } from "../../errors.ts";
import { FilesAhead } from "../volume/preopened-files.ts";
import { channelPort } from "../port/channel.ts";
import { holdForLife, lockEnd, WORKER_END_MS, whenFree, workerEnd } from "../platform/locks.ts";
import { SETTLED_MS } from "../platform/terms.ts";
import { sleep } from "../platform/timing.ts";
import type { PortServer } from "../port/port-server.ts";
import type { Follow, JoinRequest, Last, LeaveRequest, ManageRequest, StandBy } from "../port/protocol.ts";
import { rehearse } from "./warm-up.ts";
import type { HostOptions, WorkerHost } from "./worker-host.ts";

/** What only tabs ask for. */
export async function serve(host: WorkerHost, request: JoinRequest | LeaveRequest): Promise<void> {
  if (request.op === "join") return admit(host, request);
  // The page's own: what it has appended is written, what it reads nobody hears. To close the files takes longer than such a worker has.
  const [{ running }] = host.servers as unknown as [PortServer];
  const own = [...running].slice(0, -1);
  for (const [, each] of own) each.abort(new TidemarkError("CLOSED", "its page is gone"));
  while (own.some(([id]) => running.has(id))) await sleep(1);
  close();
}

/** A guest can't end the tide, nor bring others along. */
export function admit(host: WorkerHost, { port, life }: JoinRequest): void {
  const channels: MessagePort[] = [];
  const open = (end: MessagePort | string): MessagePort => {
    const channel = typeof end === "string" ? channelPort(end) : end;
    channels.push(channel);
    return channel;
  };
  const manage = async (request: ManageRequest): Promise<unknown> => {
    if (["close", "join", "leave"].includes(request.op))
      throw new TidemarkError("INVALID_ARGUMENT", "only the leader's page may ask for this");
    return host.manage(request.op === "control" ? { ...request, port: open(request.port) } : request);
  };
  const server = host.serve(open(port), manage);
  whenFree(life, () => {
    host.servers.delete(server);
    for (const request of server.running.values()) request.abort(new TidemarkError("CLOSED", "its tab is gone"));
    for (const channel of channels) channel.close();
  });
}

/** A leader, as a worker that stands by sees it. */
class Leader {
  isGone = false;
  /** Asked for while it lives, so that the answer waits for nobody. */
  readonly ended: Promise<void>;

  constructor(readonly lock: string) {
    this.ended = lockEnd(lock, () => void (this.isGone = true));
  }

  /** Rejects when it hangs. */
  async end(): Promise<void> {
    const late = sleep(WORKER_END_MS).then(() => Promise.reject(new Error("it has not ended")));
    await Promise.race([this.ended, late]);
  }
}

/** A leader's successor that is another tab's worker finds nobody else at the files by then: of a leader that hangs it reads none for SUCCESSOR_WAIT_MS. */
const RELEASE_MS = 300;

export function standBy(
  host: WorkerHost,
  { standBy: port, lock, name, engine, durability, kernel, leader: first }: StandBy,
): void {
  const found = engine === "opfs" ? FilesAhead.find(name) : import("../volume/idb-volume.ts").then(() => undefined);
  found.catch(() => undefined);
  const { openVolume } = host;
  let leader: Leader;
  let isOrdered = false;
  let asked: Promise<void> | undefined;
  host.openVolume = async (choice) => {
    host.openVolume = openVolume;
    let files: FilesAhead | undefined;
    try {
      files = await found;
      await asked;
      const opened = await openVolume({
        ...choice,
        known: { engine, durability, ...(files && { directory: files.directory }) },
      });
      files?.endWith(opened.volume);
      return opened;
    } catch (thrown) {
      await files?.drop();
      const { code } = TidemarkError.from(thrown);
      // It is no longer as it was: looked at from the beginning.
      if (code === "ALREADY_OPEN" || code === "CLOSED") throw thrown;
      return openVolume(choice);
    }
  };
  const follow = async (lifeLock: string, settledMs = 0): Promise<void> => {
    const now = (leader = new Leader(lifeLock));
    await sleep(settledMs);
    const files = await found;
    await files?.prepare(() => !now.isGone);
    await now.ended;
    await sleep(RELEASE_MS);
    if (now === leader && !isOrdered) await files?.release();
  };
  const lead = ({ last, ...options }: HostOptions & Last): void => {
    isOrdered = true;
    void host.open(options);
    if (last === undefined) return void (asked = found.then((files) => files?.release()).catch(() => undefined));
    const end = last === "" ? Promise.resolve() : last === leader.lock ? leader.end() : workerEnd(last);
    const ended = end.catch((cause: unknown) =>
      Promise.reject(new TidemarkError("ALREADY_OPEN", "the last leader's worker has not ended", {}, { cause })),
    );
    // By now it has asked for its lock, by which it is deposed when it hangs with files locked.
    asked = found.then((files) => (files ? void files.open(ended).catch(() => undefined) : ended));
    for (const each of [ended, asked]) each.catch(() => undefined);
  };
  port.onmessage = ({ data }: MessageEvent<Follow | (HostOptions & Last)>) => {
    if ("leader" in data) void follow(data.leader, SETTLED_MS).catch(() => undefined);
    else lead(data);
  };
  void follow(first).catch(() => undefined);
  void rehearse(host, kernel).catch(() => undefined);
  holdForLife(lock, () => port.postMessage(0)).catch(() => undefined);
}
