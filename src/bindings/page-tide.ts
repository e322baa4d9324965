/**
 * The tides of a page: opened by the first component that needs one, closed when the last one is gone.
 *
 *   provider, hooks ─▶ TideSource (a name) ─▶ PageTide: one open(), its status, and what is followed in its topics
 *
 * A TideSource is only a name with options, so that one made by a render that came to nothing, or on a server, leaves
 * nothing behind.
 */
import { open, type OpenOptions, type StorageReport, type Tide, TidemarkError } from "../browser/index.ts";
import { check, optionsOf } from "./checks.ts";
import { has, nothing, type Shared, shared, type Source } from "./shared.ts";

/** What open() takes, but for the signal: the binding has its own. */
export type TideOptions = Omit<OpenOptions, "signal">;

export interface TideStatus {
  /**
   * "opening": also on a server, and until the page has hydrated. "failed": open() has failed, or the tide that was
   * given had ended before. "closed": it has ended
   * for this page, because another tab destroyed it or its storage was cleared. `error` has the reason of both.
   */
  readonly state: "opening" | "open" | "failed" | "closed";
  readonly error?: TidemarkError | undefined;
  /** Whether this tab leads; undefined until it is open. */
  readonly role?: Tide["role"] | undefined;
  /** False while the last leader is gone and no other leads: appends wait. */
  readonly hasLeader: boolean;
  readonly storage?: StorageReport | undefined;
  /** Opens it again after "failed" and "closed". */
  readonly reopen: () => void;
}

export interface OpenedStatus extends TideStatus {
  readonly tide?: Tide | undefined;
}

/** What hydration shows, and a server. */
export const OPENING: OpenedStatus = { state: "opening", hasLeader: false, reopen: nothing };

export interface PageTide extends Shared<OpenedStatus> {
  /** What is followed here, by what it is: one follower, however many components show it. */
  readonly followers: Map<string, unknown>;
}

interface Registry {
  /** Tides that some component of this page needs: by name, or as the application has opened them. */
  readonly pages: Map<string | Tide, PageTide>;
  /** By name: the closing of a tide. The next open() waits for it. */
  readonly closings: Map<string, Promise<void>>;
}
/**
 * A page has one registry, even if it uses several bindings: each binding is a bundle with its own copy of this file.
 */
const { pages, closings } = ((globalThis as { [key: symbol]: Registry })[Symbol.for("tidemark.page-tides")] ??= {
  pages: new Map(),
  closings: new Map(),
});

/** Tells the status of an open tide from now on. */
function watch(tide: Tide, set: (next: OpenedStatus) => void, reopen: () => void): () => void {
  let now: OpenedStatus = { state: "open", tide, hasLeader: true, storage: tide.storage, reopen };
  const show = (change?: Partial<OpenedStatus>): void => set((now = { ...now, role: tide.role, ...change }));
  show();
  return tide.on((event) => {
    const hasLeader = event.type === "leaderchange";
    if (event.type === "closed") show({ state: "closed", tide: undefined, error: event.error, hasLeader });
    else if (hasLeader || event.type === "leaderlost") show({ hasLeader });
  });
}

/** One that the application has opened. Throws its error if it has ended before, which it tells only once. */
function running(tide: Tide & { readonly ended?: TidemarkError }): Tide {
  if (tide.ended) throw tide.ended;
  return tide;
}

function makePageTide(tide: string | Tide, options: TideOptions | undefined): PageTide {
  const page = shared(
    OPENING,
    (set) => {
      const left = new AbortController();
      const { signal } = left;
      let unwatch = nothing;
      const opening = Promise.resolve(closings.get(tide as string)).then(() =>
        typeof tide === "string" ? open(tide, { ...options, signal }) : running(tide),
      );
      const reopen = (): void => page.restart(OPENING);
      opening.then(
        (opened) => signal.aborted || (unwatch = watch(opened, set, reopen)),
        (thrown: unknown) => set({ ...OPENING, state: "failed", error: TidemarkError.from(thrown), reopen }),
      );
      return () => {
        unwatch();
        left.abort();
        if (typeof tide !== "string") return;
        // Not open, or ended already: nothing is left to close.
        closings.set(tide, opening.then((opened) => opened.close()).catch(nothing));
      };
    },
    () => pages.delete(tide),
  );
  return Object.assign(page, { followers: new Map() });
}

/** The tide of a provider. */
export interface TideSource extends Source<OpenedStatus> {
  /** Undefined until somebody needs it. */
  known(): PageTide | undefined;
  /** Its first listener opens it. */
  needed(): PageTide;
  /**
   * Resolves with the tide once it is open, and opens it for that. Rejects with what `error` says. The tide stays open
   * until `leave` is called, also if the last component goes meanwhile.
   */
  whenOpen(): readonly [opening: Promise<Tide>, leave: () => void];
}

/**
 * The source for a name, or for a tide that the application opens and closes itself. INVALID_ARGUMENT for another
 * value.
 */
export function tideSource(tide: string | Tide | undefined, options?: TideOptions | null): TideSource {
  check(typeof tide === "string" || has(tide, "on"), "tide", "a tide or its name");
  const given = optionsOf(options);
  const self: TideSource = {
    known: () => pages.get(tide as Tide),
    needed() {
      const page = self.known() ?? makePageTide(tide as Tide, given);
      pages.set(tide as Tide, page);
      return page;
    },
    get current() {
      return self.known()?.current ?? OPENING;
    },
    subscribe: (listener) => self.needed().subscribe(listener),
    whenOpen() {
      let leave = nothing;
      const opening = new Promise<Tide>((resolve, reject) => {
        const look = (): void => {
          const { tide: now, error } = self.current;
          if (now) resolve(now);
          else if (error) reject(error);
        };
        leave = self.subscribe(look);
        look();
      });
      return [opening, leave];
    },
  };
  return self;
}
