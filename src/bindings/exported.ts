/** What every binding exports beside its hooks. */
export { defineTopic, defineView } from "./followers.ts";
export type { AppendCalls, PendingAppend } from "./appending.ts";
export type {
  RecordsOptions,
  TopicDefinition,
  TopicRef,
  ViewDefinition,
  ViewInfo,
  ViewSelection,
} from "./followers.ts";
export type { TideOptions, TideStatus } from "./page-tide.ts";
