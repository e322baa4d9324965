/**
 * What components show of topics: views, the last records, and the status of sync. Each is followed once for a tide,
 * while a component shows it.
 *
 *   a component ─▶ source: before it is mounted the initial value, then ─▶ the follower that all of them share
 */
import {
  type EventInput,
  type EventMap,
  type EventRecord,
  type EventTypes,
  type InferInput,
  type InferOutput,
  type RecordInput,
  type StandardSchema,
  type SyncStatus,
  type Tide,
  TidemarkError,
  type Topic,
  type TopicOptions,
  type TopicRecord,
  type TypedTopicOptions,
  type View,
  type ViewOptions,
} from "../browser/index.ts";
import { type Begin, has, nothing, type Shared, shared, type Source } from "./shared.ts";
import { check, optionsOf } from "./checks.ts";
import { type PageTide, type TideSource } from "./page-tide.ts";

/**
 * A topic with its options, made once and used wherever the topic is shown or appended to. `I` is what may be appended,
 * and `R` a record as read: they differ in a topic with a schema.
 */
export interface TopicDefinition<V = unknown, I = RecordInput<V>, R = TopicRecord<V>> {
  readonly name: string;
  readonly of: (tide: Tide) => Topic<V, I, R>;
}
export type TopicRef<V = unknown, I = RecordInput<V>, R = TopicRecord<V>> = string | TopicDefinition<V, I, R>;
/** What is needed of a record here. */
export type FollowedRecord = Pick<TopicRecord, "id" | "provisional">;

/** Takes what `tide.topic()` takes. */
export function defineTopic<M extends EventMap>(
  name: string,
  options: TypedTopicOptions<EventTypes<M>>,
): TopicDefinition<unknown, EventInput<M>, EventRecord<M, TopicRecord>>;
export function defineTopic<S extends StandardSchema>(
  name: string,
  options: TypedTopicOptions<S>,
): TopicDefinition<InferOutput<S>, RecordInput<InferInput<S>>>;
export function defineTopic<V = unknown>(name: string, options?: TopicOptions<V>): TopicDefinition<V>;
export function defineTopic(name: string, options?: TopicOptions): TopicDefinition {
  return { name, of: (tide) => tide.topic(name, options) };
}

/**
 * A view of a topic. Components that name the same topic, view and version, with functions of the same text, share one.
 */
export interface ViewDefinition<S, V = unknown, I = RecordInput<V>, R = TopicRecord<V>> extends Omit<
  ViewOptions<S, V, R>,
  "signal"
> {
  readonly topic: TopicRef<V, I, R>;
}

export const defineView = <S, V = unknown, I = RecordInput<V>, R = TopicRecord<V>>(
  topic: TopicRef<V, I, R>,
  options: Omit<ViewOptions<S, V, R>, "signal">,
): ViewDefinition<S, V, I, R> => ({ topic, ...options });

/** What is known of the state that a component shows. */
export interface ViewInfo {
  /** False until all records of this device are in it; until then it is initial(). */
  readonly isReady: boolean;
  /** How far its committed part goes (exclusive), and how many records without a place are in it. */
  readonly at: { readonly offset: number; readonly provisional: number };
}

export interface Followed<T> extends ViewInfo {
  readonly value: T;
  /** The error that ended it. Undefined while it goes on. */
  readonly error?: TidemarkError | undefined;
}

/** What a component shows of a view's state. */
export interface ViewSelection<S, T> {
  /** Default: the state itself. What else it reads is followed as the framework follows it. */
  readonly select?: ((state: S, info: ViewInfo) => T) | undefined;
  /** The component is told only of selections that differ. Default Object.is. INVALID_ARGUMENT: not a function. */
  readonly equals?: ((a: T, b: T) => boolean) | undefined;
}

/**
 * How a component picks what it shows. It gives the last result again where `equals` says that nothing changed. It
 * selects at each call, because `select` may read more than the state. INVALID_ARGUMENT for wrong options.
 */
export function picking<S, T>(
  options: ViewSelection<S, T> | null | undefined,
  last?: { readonly result: T },
): (followed: Followed<S>) => T {
  // Anything else would be ignored, and the whole state shown.
  const { select = (state: S): T => state as S | T as T, equals = Object.is } = optionsOf(options, {
    select: "function",
    equals: "function",
  });
  return (followed) => {
    const result = select(followed.value, followed);
    if (!last || !equals(last.result, result)) last = { result };
    return last.result;
  };
}

const START = { isReady: false, at: { offset: 0, provisional: 0 } };
/** INVALID_ARGUMENT if this is not a topic. */
export function definitionOf<V, I, R>(topic: TopicRef<V, I, R>): TopicDefinition<V, I, R> {
  const definition = typeof topic === "string" ? (defineTopic(topic) as TopicDefinition<never, never, never>) : topic;
  check(has(definition, "of"), "topic", "defineTopic() or its name");
  return definition;
}
export const nameOfTopic = <V, I, R>(topic: TopicRef<V, I, R>): string => definitionOf(topic).name;

/** Where a component stands: `initial` until it is mounted, and on a server. */
export interface FollowedSource<T> extends Source<Followed<T>> {
  readonly initial: Followed<T>;
}

type Start<T> = (tide: Tide, show: (next: Followed<T>) => void, fail: (thrown: unknown) => void) => () => void;

/** Runs while the tide is open, and begins anew on a topic that was deleted. */
function whileOpen<T>(page: PageTide, initial: Followed<T>, start: Start<T>): Begin<Followed<T>> {
  return (set) => {
    let now: Tide | undefined;
    let shown = initial;
    let stop = nothing;
    const show = (next: Followed<T>): void => set((shown = next));
    const begin = (tide: Tide): void => {
      let isOver = false;
      let end = nothing;
      stop = () => {
        isOver = true;
        end();
      };
      const fail = (thrown: unknown): void => {
        if (isOver) return;
        stop();
        const error = TidemarkError.from(thrown);
        // A topic of this name that is made later is another one, and begins with nothing.
        if (error.code === "UNKNOWN_TOPIC" && error.details["deleted"]) {
          show(initial);
          begin(tide);
          // The tide's own end is told by its status, with the reason.
        } else if (error.code !== "CLOSED") show({ ...shown, error });
      };
      try {
        end = start(tide, (next) => isOver || show(next), fail);
      } catch (thrown) {
        fail(thrown);
      }
    };
    const look = (): void => {
      const { tide, error } = page.current;
      if (error) show({ ...shown, error });
      if (tide === now) return;
      stop();
      now = tide;
      if (tide) begin(tide);
    };
    const leave = page.subscribe(look);
    look();
    return () => {
      leave();
      stop();
    };
  };
}

/** What all components that ask for `key` share. */
function sharedSource<T>(tide: TideSource, key: string, value: T, start: Start<T>): FollowedSource<T> {
  const initial: Followed<T> = { ...START, value };
  const known = (page: PageTide | undefined) => page?.followers.get(key) as Shared<Followed<T>> | undefined;
  return {
    initial,
    get current() {
      return known(tide.known())?.current ?? initial;
    },
    subscribe(listener) {
      const page = tide.needed();
      let follower = known(page);
      if (!follower) {
        follower = shared(initial, whileOpen(page, initial, start), () => page.followers.delete(key));
        page.followers.set(key, follower);
      } else if (follower.current.error && !page.current.error) follower.restart(initial); // Mounted anew: another try.
      return follower.subscribe(listener);
    },
  };
}

// --- views ---------------------------------------------------------------------------------------------------------

/** Shows a view until `end`; closing it is the caller's. */
function showView<S>(view: View<S>, show: (next: Followed<S>) => void, fail: (thrown: unknown) => void): () => void {
  let isReady = false;
  const look = (): void => {
    show({ value: view.current, isReady, at: view.at });
    // The view also calls its listeners when it has ended. Then ready() rejects with the reason.
    if (isReady) view.ready().catch(fail);
  };
  const end = view.subscribe(look);
  view.ready().then(() => {
    isReady = true;
    look();
  }, fail);
  return end;
}

function isView<S, V, I, R>(view: ViewDefinition<S, V, I, R> | View<S>): view is View<S> {
  const isOpen = has(view, "subscribe");
  check(isOpen || has(view, "initial"), "view", "defineView() or topic.view()");
  return isOpen;
}
const liveViews = new WeakMap<object, unknown>();

/** A view that the application has made, and will close. */
function liveSource<S>(view: View<S>): FollowedSource<S> {
  const known = liveViews.get(view) as FollowedSource<S> | undefined;
  if (known) return known;
  const initial: Followed<S> = { ...START, value: view.current };
  const source: FollowedSource<S> = Object.assign(
    shared(initial, (set) =>
      showView(view, set, (thrown) => set({ ...source.current, error: TidemarkError.from(thrown) })),
    ),
    { initial },
  );
  liveViews.set(view, source);
  return source;
}

/** Names what components share, so that they may write the definition where they use it. */
export function viewKey<S, V, I, R>(view: ViewDefinition<S, V, I, R> | View<S>): unknown {
  if (isView(view)) return view;
  const { topic, name, version, initial, apply } = view;
  return ["view", nameOfTopic(topic), name, version, initial, apply].join("\n");
}

export function viewSource<S, V, I, R>(
  tide: TideSource,
  view: ViewDefinition<S, V, I, R> | View<S>,
): FollowedSource<S> {
  if (isView(view)) return liveSource(view);
  const { topic, ...options } = view;
  return sharedSource<S>(tide, viewKey(view) as string, options.initial(), (opened, show, fail) => {
    const running = definitionOf(topic).of(opened).view(options);
    const end = showView(running, show, fail);
    return () => {
      end();
      running.close();
    };
  });
}

// --- records -------------------------------------------------------------------------------------------------------

export interface RecordsOptions {
  /** How many of the newest are shown. Default 100. */
  readonly last?: number | undefined;
  /** false: as of when it is mounted. Default true. */
  readonly follow?: boolean | undefined;
}

const LAST = 100;
/** While it catches up, what has come is shown after this many changes. */
const CHANGES_MAX = 4096;

const newest = <T>(all: readonly T[], last: number): T[] => (last ? all.slice(-last) : []);

/** The newest records of a topic: committed ones by offset, then own ones without a place. */
async function showNewest<V, I, R extends FollowedRecord>(
  topic: Topic<V, I, R>,
  last: number,
  signal: AbortSignal,
  /** False once it has seen enough. */
  show: (next: Followed<readonly R[]>) => boolean,
): Promise<void> {
  let committed: R[] = [];
  const own = new Map<string, R>();
  let changes = 0;
  for await (const change of topic.changes({ from: { last }, signal })) {
    const isReady = change.type === "level";
    if ("record" in change) {
      const { record } = change;
      if (record.provisional) own.set(record.id, record);
      else {
        own.delete(record.id);
        committed.push(record);
        if (committed.length >= 2 * last) committed = newest(committed, last);
      }
    } else if (change.type === "retract") own.delete(change.id);
    else if (change.type === "reset") {
      committed = [];
      own.clear();
    }
    if (++changes % CHANGES_MAX !== 0 && !isReady) continue;
    if (!show({ ...START, value: newest([...committed, ...own.values()], last), isReady })) return;
  }
}

/** changes() looks at the number. */
function checkedRecordsOptions(options: RecordsOptions | null | undefined): readonly [last: number, follow: boolean] {
  const { last = LAST, follow = true } = optionsOf(options, { last: "number", follow: "boolean" });
  return [last, follow];
}

/** Names what components share. INVALID_ARGUMENT for a wrong topic or wrong options. */
export function recordsKey<V, I, R>(topic: TopicRef<V, I, R>, options?: RecordsOptions | null): string {
  return ["records", nameOfTopic(topic), checkedRecordsOptions(options)].join("\n");
}

export function recordsSource<V, I, R extends FollowedRecord>(
  tide: TideSource,
  topic: TopicRef<V, I, R>,
  options?: RecordsOptions | null,
): FollowedSource<readonly R[]> {
  const [last, follow] = checkedRecordsOptions(options);
  return sharedSource<readonly R[]>(tide, recordsKey(topic, options), [], (opened, show, fail) => {
    const left = new AbortController();
    const more = (next: Followed<readonly R[]>): boolean => {
      show(next);
      return follow || !next.isReady;
    };
    showNewest(definitionOf(topic).of(opened), last, left.signal, more).catch(fail);
    return () => left.abort();
  });
}

// --- sync ----------------------------------------------------------------------------------------------------------

const IDLE: SyncStatus = { state: "idle", connected: false, topics: {} };

/** "idle" until something is synced. */
export const syncSource = (tide: TideSource): FollowedSource<SyncStatus> =>
  sharedSource<SyncStatus>(tide, "sync", IDLE, (opened, show) => {
    const look = (): void => {
      const { syncing } = opened;
      if (syncing) show({ ...START, value: syncing.status });
    };
    look();
    return opened.on("sync", look);
  });
