/** The public types that histories use; the entry itself is handed in, so that one history runs over every host. */
export type {
  Ack,
  BatchAck,
  Change,
  SegmentExport,
  StorageReport,
  Tide,
  TideEvent,
  Topic,
  TopicOptions,
  TopicRecord,
  TopicState,
  View,
} from "../../../src/browser/api.ts";
export type { RecordInput } from "../../../src/topic/input.ts";
export type { StartPosition, RetentionSettings } from "../../../src/log/types.ts";
export type { TopicSettings } from "../../../src/topic/settings.ts";
