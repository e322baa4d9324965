/**
 * `tidemark/react`: a provider and hooks over one open tide.
 *
 *     <TideProvider name="my-app"><App /></TideProvider>
 *     const todos = useView(list);
 *     const { append, pending, error, retry } = useAppend(changes);
 *
 * On a server, and until a page has hydrated, views show their initial state. Errors of the tide, of a view and of
 * records are thrown while rendering, for an error boundary; errors of appends are in `error` of useAppend.
 */
"use client";

import {
  createContext,
  createElement,
  type ReactNode,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useSyncExternalStore,
} from "react";
import type { RecordInput, SyncStatus, Tide, TopicRecord, View } from "../browser/index.ts";
import { type AppendCalls, type AppendState, NOTHING_PENDING, appendingTo } from "./appending.ts";
import { check } from "./checks.ts";
import {
  type Followed,
  type FollowedSource,
  recordsKey,
  type RecordsOptions,
  recordsSource,
  type FollowedRecord,
  syncSource,
  nameOfTopic,
  picking,
  type TopicRef,
  type ViewDefinition,
  viewKey,
  type ViewSelection,
  viewSource,
} from "./followers.ts";
import {
  OPENING,
  type OpenedStatus,
  type TideOptions,
  type TideSource,
  tideSource,
  type TideStatus,
} from "./page-tide.ts";
import { nothing } from "./shared.ts";

export type TideProviderProps = { readonly children?: ReactNode } & (
  | {
      /** Opened by the first component, closed when the last one is gone; providers of one name share it. */
      readonly name: string;
      /** As they are when it is opened. */
      readonly options?: TideOptions | undefined;
      readonly tide?: undefined;
    }
  /** A tide that the application opens and closes itself. */
  | { readonly tide: Tide; readonly name?: undefined; readonly options?: undefined }
);

const Context = createContext<TideSource | undefined>(undefined);

export function TideProvider({ name, options, tide, children }: TideProviderProps): ReactNode {
  // Options are often written in place. They count when the tide is opened, so another object is no other tide.
  const source = useMemo(() => tideSource(tide ?? name, options), [tide, name]);
  useEffect(() => source.subscribe(nothing), [source]);
  return createElement(Context.Provider, { value: source }, children);
}

function useSource(): TideSource {
  const source = useContext(Context);
  check(source, "provider", 'the app <TideProvider name="…">');
  return source;
}

function useStatus(): OpenedStatus {
  const source = useSource();
  return useSyncExternalStore(
    source.subscribe,
    () => source.current,
    () => OPENING,
  );
}

/** Undefined while it is being opened, and on a server. Throws what has ended it, or what open() has thrown. */
export function useTide(): Tide | undefined {
  const { tide, error } = useStatus();
  if (error) throw error;
  return tide;
}

export const useTideStatus = (): TideStatus => useStatus();

/** Selects once for each value: React asks again and again, and takes another object for a change. */
function once<S, T>(pick: (value: S) => T): (value: S) => T {
  let last: { readonly value: S; readonly result: T } | undefined;
  return (value) => (last?.value === value ? last : (last = { value, result: pick(value) })).result;
}

function useFollowed<S, T = S>(source: FollowedSource<S>, options?: ViewSelection<S, T>): T {
  const rendered = useRef<{ readonly result: T } | undefined>(undefined);
  const pick = useMemo(() => once(picking(options, rendered.current)), [source, options?.select, options?.equals]);
  const read = (followed: Followed<S>): T => {
    if (followed.error) throw followed.error;
    return pick(followed);
  };
  const result = useSyncExternalStore(
    source.subscribe,
    () => read(source.current),
    () => read(source.initial),
  );
  useEffect(() => void (rendered.current = { result }));
  return result;
}

/**
 * The state of a view, made of a topic's records; initial() until all records of this device are in it. Components that
 * show the same view share one. Throws what has ended it.
 */
export function useView<S, V, I, R, T = S>(
  view: ViewDefinition<S, V, I, R> | View<S>,
  options?: ViewSelection<S, T>,
): T {
  const tide = useSource();
  const source = useMemo(() => viewSource(tide, view), [tide, viewKey(view)]);
  return useFollowed(source, options);
}

/** The newest records of a topic, own ones without a place at the end. Empty until they are read. */
export function useRecords<V = unknown, I = RecordInput<V>, R extends FollowedRecord = TopicRecord<V>>(
  topic: TopicRef<V, I, R>,
  options?: RecordsOptions,
): readonly R[] {
  const tide = useSource();
  const source = useMemo(() => recordsSource(tide, topic, options), [tide, recordsKey(topic, options)]);
  return useFollowed(source);
}

/** "idle" while nothing is synced, and on a server. */
export function useSyncStatus(): SyncStatus {
  const tide = useSource();
  return useFollowed(useMemo(() => syncSource(tide), [tide]));
}

/** Appends to a topic, and what waits for its ack. The functions stay the same; they may be handed to children. */
export function useAppend<V = unknown, I = RecordInput<V>, R = TopicRecord<V>>(
  topic: TopicRef<V, I, R>,
): AppendState<I> & AppendCalls<I> {
  const tide = useSource();
  const appending = useMemo(() => appendingTo(tide, topic), [tide, nameOfTopic(topic)]);
  const state = useSyncExternalStore(
    appending.subscribe,
    () => appending.current,
    () => NOTHING_PENDING,
  );
  return useMemo(() => ({ ...state, ...appending.calls }), [appending, state]);
}

export * from "./exported.ts";
export type { AppendState } from "./appending.ts";
