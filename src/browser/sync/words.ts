/**
 * The messages between the page's part of sync and the worker's, on the data port.
 *
 *   page   { op: "sync", ask: { … } }            one answer
 *   worker { event: { type: "sync", … } }        to every tab: a SyncEvent, a run of settled positions
 *                                                to one tab: a token is wanted; is the page seen?
 */
import type { FoundPlaces, WantedRun } from "../../sync/place-search.ts";
import type { Range } from "../../sync/topic-store.ts";
import type { PageHint } from "./page-hints.ts";
import type { SyncedTopicOptions, SyncEvent, TokenAsk } from "../sync-api.ts";

export type SyncAsk =
  | {
      readonly ask: "start";
      readonly url: string;
      readonly topics: Readonly<Record<string, SyncedTopicOptions>>;
      readonly background?: "pause" | "keep" | undefined;
      /** The page has a token, or a function that gives one. */
      readonly hasToken: boolean;
    }
  | {
      readonly ask: "token";
      readonly id: number;
      readonly token?: string | null | undefined;
      /** What the page's function has thrown, if it has failed. Pages of earlier versions say true. */
      readonly failed?: string | true;
    }
  | { readonly ask: "pause" | "resume" | "status" }
  /** `token` is what the page's provider gives now; undefined if it has none, or it failed. */
  | { readonly ask: "authenticate"; readonly token: string | null | undefined }
  | { readonly ask: "hint"; readonly hint: PageHint }
  /** Answered by Places: where these own records are, as far as it was told already. */
  | { readonly ask: "places"; readonly topic: string; readonly since: number; readonly runs: readonly WantedRun[] }
  /** The answer to "ask-seen". */
  | { readonly ask: "seen"; readonly id: number; readonly isHidden: boolean }
  /** Answered once that is reached. Rejected if a topic needs a person's answer first. */
  | { readonly ask: "wait"; readonly until: "drained" | "level"; readonly topic: string | undefined }
  | { readonly ask: "unblock"; readonly topic: string; readonly choice: "retry" | "setAside" | "discard" }
  | { readonly ask: "resolve"; readonly topic: string; readonly choice: "detach" | "restart" | "offerAgain" }
  | { readonly ask: "detach"; readonly topic: string; readonly force: boolean };

/** Positions [from, to) that are settled. `offset` is where the first one is at the edge; -1 if that is not known. */
export interface SettledRun {
  readonly from: number;
  readonly to: number;
  readonly offset: number;
}

export type Places = FoundPlaces;

export type SyncNews =
  | SyncEvent
  | { readonly type: "settled"; readonly topic: string; readonly runs: readonly SettledRun[] }
  | { readonly type: "retracted"; readonly topic: string; readonly range: Range }
  | { readonly type: "ask-seen"; readonly id: number }
  | { readonly type: "ask-token"; readonly id: number; readonly ask: TokenAsk };
