/**
 * The worker's side of one open tide: it owns the volume, the store and a log for each topic.
 *
 *   page ── data port ─▶ PortServer     append, fetch, and what every tab needs
 *        ── Comlink ───▶ control-host.ts     topics, state, upkeep, tools: loaded by the first call
 *
 * A store that failed is opened again from what is on disk, with recovery, a few times with growing pauses. Producers
 * then re-send batches without an ack. Writes go through a fence that lets none pass when the worker's term is over
 * (fenced-volume.ts).
 */
import { TidemarkError } from "../../errors.ts";
import type { Kernel } from "../../kernel/types.ts";
import { instantiateKernel } from "../../kernel/wasm-kernel.ts";
import type { Log } from "../../log/log.ts";
import type { LogRecovery } from "../../store/log-store.ts";
import { SegmentStore } from "../../store/segment-store.ts";
import type { Engine, Volume, VolumeInfo } from "../../store/volume.ts";
import type { StorageReport, TideEvent } from "../api.ts";
import { type PortHost, PortServer } from "../port/port-server.ts";
import { laterTurn, sleep } from "../platform/timing.ts";
import type { VolumeOpener } from "../volume/engine.ts";
import { openVolume } from "../volume/open-volume.ts";
import type { Failed, HostOptions, ManageRequest, Opened } from "../port/protocol.ts";
import { FencedVolume } from "./fenced-volume.ts";
import type { LogApi } from "../../log/types.ts";
import type { TideSync } from "../sync/tide-sync.ts";
import type { SyncAsk } from "../sync/words.ts";
import { Term } from "./term.ts";
import { deleted, Topics } from "./topics.ts";
import { outboxName } from "../../sync/log-names.ts";
import { topicOfOutbox } from "../../sync/places.ts";
import { topicName } from "../../topic/log-names.ts";
import { UpkeepTimer } from "./upkeep.ts";

/**
 * Indexes are preloaded this long after an opening, not at once: right after a fail-over re-sent batches come first.
 */
const WARM_MS = 500;
const REOPEN_TRIES = 5;
const REOPEN_PAUSE_MS = 50;
/** A pause is no longer than 3.2 s. */
const REOPEN_DOUBLINGS_MAX = 6;
/** The pause between two tries while the disk is full, or while sync's part of the package can't be loaded. */
const QUOTA_PAUSE_MS = 1_000;

interface OpenStore {
  readonly volume: Volume;
  readonly store: SegmentStore;
  readonly logs: Map<string, Promise<Log>>;
}

/** Recovery's reports, by topics' names as an app knows them. */
const recoveryOf = (store: SegmentStore): LogRecovery[] =>
  store.recovery.logs.map((report) => ({ ...report, log: topicName(report.log) }));

export class WorkerHost {
  #options!: HostOptions;
  #term!: Term;
  #kernel!: Kernel;
  #rejected: StorageReport["rejected"] = [];
  /** The open store, or the opening of the next one. Rejects once the tide is closed for good. */
  #open: Promise<OpenStore> = Promise.reject(new TidemarkError("CLOSED", "the tide is closed"));
  #reopening = false;
  #reopenedAt = 0;
  #ended: TidemarkError | undefined;
  #opened: Omit<Opened, "settings"> | undefined;
  /** The sync of one opening of the store. There is at most one: two would append to the same logs. */
  #sync: { readonly store: SegmentStore; readonly started: Promise<TideSync> } | undefined;
  readonly #topics = new Topics({
    kernel: () => this.#kernel,
    open: () => this.#open,
    breathe: laterTurn,
    tell: (event) => this.#emit(event),
    due: (topic) => this.#upkeep.arm(topic),
  });
  readonly #upkeep = new UpkeepTimer({
    checkAttached: () => this.#checkAttached(),
    clean: (topic) => this.#clean(topic),
  });
  readonly #openVolume: VolumeOpener;
  /** One server for each tab; the first one is for the worker's own page. */
  readonly servers = new Set<PortServer>();

  /** `open`: a standby worker has looked up the volume already (standby.ts). */
  constructor(open: VolumeOpener = openVolume) {
    this.#openVolume = open;
    this.#open.catch(() => undefined);
  }

  #emit(event: TideEvent): void {
    for (const server of this.servers) server.tell(event);
  }

  /** Opens the tide, and tells the page once, on the data port, how that went. */
  async open(options: HostOptions): Promise<void> {
    const { lifeLock, port } = options;
    this.#options = options;
    this.#term = new Term(lifeLock, this.#leave);
    if (options.syncs) import("../sync/leading-sync.ts").catch(() => undefined);
    const alive = this.#term.begin().then(() => port.postMessage({ event: { type: "alive" } }));
    try {
      this.#kernel = await instantiateKernel(options.kernel);
      this.#open = this.#openStore();
      const { volume, store } = await this.#open;
      // From this message on the page watches the lock; nothing else may be sent before it.
      await alive;
      const recovery = recoveryOf(store);
      this.#opened = {
        ...(volume.info as VolumeInfo & { readonly engine: Engine }),
        segmentBytes: volume.slotBytes,
        id: store.id!,
        epoch: store.epoch,
        rejected: this.#rejected,
        recovery,
        batchBytesMax: store.batchBytesMax,
      };
      this.serve(port, this.manage);
    } catch (thrown) {
      port.postMessage({ failed: TidemarkError.from(thrown).toWire() } satisfies Failed);
    }
  }

  /** The worker was deposed. Its page may not know the worker's lock yet, and would then not notice its end. */
  readonly #leave = (): void => {
    this.#options.port.postMessage({
      failed: new TidemarkError("CLOSED", "another tab leads now", { reason: "deposed" }).toWire(),
    } satisfies Failed);
    close();
  };

  /** Serves a tab's port from now on. */
  serve(port: MessagePort, manage: PortHost["manage"]): PortServer {
    const host: PortHost = {
      readable: this.#readable,
      writable: async (topic, born, ifEnd) =>
        (await this.#synced(topic, born)) ?? this.#topics.writable(topic, born, ifEnd),
      manage,
      appended: (topic) => this.#upkeep.arm(topic),
      failed: (error) => this.#failed(error),
    };
    const server = new PortServer(port, host, { ...this.#opened, settings: this.#topics.settings });
    this.servers.add(server);
    return server;
  }

  readonly manage: PortHost["manage"] = async (request, signal) => {
    if (request.op === "sync") return (await this.#withSync()).ask(request.ask as SyncAsk, signal);
    if (request.op === "topic" || request.op === "delete") return this.#manageTopic(request);
    if (request.op === "control") {
      const { offerControl } = await import("./control-host.ts");
      offerControl(request.port as MessagePort, { topics: this.#topics, readable: this.#readable });
    } else if (request.op === "close") await this.close();
    else if (request.op === "ready") await this.#open;
    else await (await import("./guests.ts")).serve(this, request);
    return undefined;
  };

  async #manageTopic(request: Extract<ManageRequest, { readonly topic: string }>): Promise<unknown> {
    const synced = await this.#synced(request.topic, request.born);
    if (request.op === "topic") return synced ? { born: synced.born } : this.#topics.ask(request);
    if (synced)
      throw new TidemarkError("INVALID_ARGUMENT", `${request.topic} is synced: detach() it first`, {
        reason: "synced",
      });
    return this.#topics.delete(request.topic, request.born);
  }

  // --- sync --------------------------------------------------------------------------------------------------------

  /** The part that keeps topics in step with an edge: loaded once a topic is synced. */
  async #withSync(): Promise<TideSync> {
    const open = await this.#open;
    const { store } = open;
    this.#leaveSync(store);
    const sync = (this.#sync ??= { store, started: this.#startSync(open) });
    // What failed may succeed later.
    sync.started.catch(() => this.#sync === sync && (this.#sync = undefined));
    return sync.started;
  }

  /** Ends the sync of another opening of the store. */
  #leaveSync(store: SegmentStore): void {
    const before = this.#sync;
    if (!before || before.store === store) return;
    this.#sync = undefined;
    before.started.then((sync) => sync.close()).catch(() => undefined);
  }

  async #startSync(open: OpenStore): Promise<TideSync> {
    const { leadingSync } = await import("../sync/leading-sync.ts");
    return leadingSync({
      ...open,
      kernel: this.#kernel,
      topics: this.#topics,
      pages: this.servers,
      prove: () => this.#term.prove(),
      emit: (event) => this.#emit(event),
      failed: (error) => this.#failed(error),
      due: (topic) => this.#upkeep.arm(topic),
    });
  }

  readonly #readable: PortHost["readable"] = async (topic, born) =>
    (await this.#synced(topic, born)) ?? this.#topics.readable(topic, born);

  /** A topic that is synced is never read or written as a plain one, also while sync's part can't be loaded. */
  async #synced(topic: string, expected: number | undefined): Promise<{ log: LogApi; born: number } | undefined> {
    const born = (await this.#open).store.bornOf(outboxName(topic));
    if (born === undefined) return undefined;
    if (expected !== undefined && expected !== born) throw deleted(topic);
    return { log: await (await this.#withSync()).log(topic), born };
  }

  /**
   * Continues the sync of an earlier opening. If sync's part of the package can't be loaded, this tries again each
   * second, because perhaps no page ever asks for it.
   */
  #resumeSync(store: SegmentStore): void {
    this.#leaveSync(store);
    if (!store.names().some((name) => topicOfOutbox(name))) return;
    const again = async (): Promise<void> => {
      await sleep(QUOTA_PAUSE_MS);
      if ((await this.#open).store === store) this.#resumeSync(store);
    };
    this.#withSync()
      .then((sync) => sync.resume(), again)
      .catch((thrown: unknown) => this.#failed(TidemarkError.from(thrown)));
  }

  async #openStore(): Promise<OpenStore> {
    const { segmentBytes: slotBytes, id = this.#opened?.id, ...options } = this.#options;
    const opened = await this.#openVolume({ ...options, slotBytes, isThere: id !== undefined });
    const { rejected } = opened;
    const volume = new FencedVolume(opened.volume, this.#term);
    this.#rejected = rejected;
    try {
      const store = await SegmentStore.open({
        volume,
        kernel: this.#kernel,
        now: Date.now,
        newId: () => crypto.randomUUID(),
        breathe: laterTurn,
        id,
      });
      this.#topics.load(store);
      void sleep(WARM_MS).then(() => store.warm(laterTurn));
      void laterTurn().then(() => this.#resumeSync(store));
      return { volume, store, logs: new Map() };
    } catch (thrown) {
      await volume.close().catch(() => undefined);
      throw thrown;
    }
  }

  /** A log said CLOSED or worse. If the store has failed and nobody is reopening it, everything is opened again. */
  #failed(error: TidemarkError): void {
    const now = Date.now();
    // A full disk opens for reading only. Whether there is room again is not checked at once. The clock may go back.
    const isSoon = Math.abs(now - this.#reopenedAt) < QUOTA_PAUSE_MS;
    if (this.#reopening || this.#ended || (error.code === "QUOTA_EXCEEDED" && isSoon)) return;
    this.#reopenedAt = now;
    this.#reopening = true;
    const before = this.#open;
    this.#open = this.#reopen(before, error).finally(() => (this.#reopening = false));
    this.#open.catch((thrown: unknown) => this.#end(TidemarkError.from(thrown)));
  }

  async #reopen(before: Promise<OpenStore>, cause: TidemarkError): Promise<OpenStore> {
    const old = await before;
    if (!old.store.poisoned) return old;
    await this.#refuseCleared(old);
    await old.store.close().catch(() => undefined);
    for (let tries = 1; ; tries++) {
      try {
        const open = await this.#openStore();
        this.#emit({ type: "reopened", reason: cause.message });
        this.#emit({ type: "recovery", report: recoveryOf(open.store) });
        return open;
      } catch (thrown) {
        const { code, message } = TidemarkError.from(thrown);
        // The files of the tide are well, and one of the package's can't be had: until it can, or the tide is closed.
        if (code === "LOAD_FAILED" && !this.#ended) this.#emit({ type: "loadfailed", reason: message });
        else if (tries >= REOPEN_TRIES) throw thrown;
        await sleep(REOPEN_PAUSE_MS * 2 ** Math.min(tries, REOPEN_DOUBLINGS_MAX));
      }
    }
  }

  #end(error: TidemarkError): void {
    this.#ended ??= error;
    this.#emit({ type: "closed", reason: error.message });
  }

  /**
   * Handles of cleared site data still seem to work, and another opening would show an empty tide, so both end here.
   * The handles are not closed: in Chromium 156 closing one whose file was deleted blocks the worker for ever. They end
   * with the worker.
   */
  async #refuseCleared({ volume, store }: OpenStore): Promise<void> {
    if (await volume.checkAttached().catch(() => true)) return;
    throw store.poison(new TidemarkError("CLOSED", "site data was cleared: reload the page", { reason: "cleared" }));
  }

  async #checkAttached(): Promise<void> {
    const open = await this.#open.catch(() => undefined);
    await (open && this.#refuseCleared(open))?.catch((gone: TidemarkError) => {
      this.#open = Promise.reject(gone);
      this.#open.catch(() => undefined);
      this.#end(gone);
    });
  }

  async #clean(topic: string): Promise<void> {
    try {
      const isSynced = (await this.#open).store.bornOf(outboxName(topic)) !== undefined;
      await (isSynced ? (await this.#withSync()).clean(topic) : (await this.#topics.log(topic)).clean());
    } catch (thrown) {
      const error = TidemarkError.from(thrown);
      if (error.code === "QUOTA_EXCEEDED") this.#emit({ type: "quota", topic, message: error.message });
      if (error.kind === "reopen") this.#failed(error);
    }
  }

  async close(): Promise<void> {
    this.#upkeep.end();
    const closed = new TidemarkError("CLOSED", "the tide is closed", { reason: "closed" });
    const open = this.#open;
    (await this.#sync?.started.catch(() => undefined))?.close();
    this.#ended = closed;
    this.#open = open.then(() => Promise.reject(closed));
    this.#open.catch(() => undefined);
    this.#topics.end(closed);
    const { store, logs } = await open;
    // A log that could not be opened has nothing to close. One that can't be closed must not keep the others open.
    let failed: unknown;
    for (const log of logs.values())
      await log.then(
        (opened) => opened.close().catch((thrown: unknown) => void (failed ??= thrown)),
        () => undefined,
      );
    await store.close();
    if (failed) throw failed;
  }
}
