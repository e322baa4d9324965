/**
 * An open tide as the files of this folder see it: what membership, joining and stand-by workers need of the page's
 * tide (browser-tide.ts), and what they change in it.
 */
import type { TidemarkError } from "../../errors.ts";
import type { Tide, TideEvent } from "../api.ts";
import type { PortClient } from "../port/port-client.ts";
import type { HostOptions, Opened } from "../port/protocol.ts";

/** Where a worker that is to lead comes from: it is a new one, or the stand-by worker. */
export interface WorkerSource {
  take(): Worker;
  /** Tells the worker that was taken that it is to lead, and with which options. */
  order(worker: Worker, options: HostOptions): void;
}

export interface Member {
  readonly name: string;
  /** Name of the lock by which a tab leads, and of the lobby. */
  readonly lock: string;
  readonly options: { readonly leaderTimeoutMs: number; readonly kernel: Promise<WebAssembly.Module> };
  role: Tide["role"];
  /** Where calls go: the leader's worker, or the one that led last. */
  readonly connection: PortClient | undefined;
  /** The connection to this tab's own worker; it is there before that worker leads. */
  readonly coming: PortClient | undefined;
  /** What the worker at the other end of `connection` found when it opened. */
  readonly opened: Opened | undefined;
  /** Why the tide ended in this tab, for good. */
  readonly ended: TidemarkError | undefined;
  /** Where the tabs of this tide meet. A page that was frozen opens a new one when it wakes. */
  lobby: BroadcastChannel;
  /** The last leader hangs, and keeps its files locked: the next worker of this tab is told so. */
  takeover: true | undefined;
  readonly makeWorker: () => Worker;
  /** Starts the worker that leads from now on, and resolves when it does; `unlock` ends the term. */
  lead(unlock: () => void, source: WorkerSource): Promise<void>;
  /** Calls go over this connection once the worker at its other end is ready. */
  use(connection: PortClient, role: Tide["role"]): Promise<void>;
  /** Waits before a file of the package that could not be loaded is tried again, and tells the app why. */
  later(error: TidemarkError): Promise<void>;
  tell(event: TideEvent): void;
  /** Some tab has removed the whole tide. */
  destroyed(): void;
  end(error: TidemarkError): void;
}
