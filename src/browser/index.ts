/** `tidemark/browser`: what an application imports. */
export { open } from "./client.ts";
export type {
  Ack, AppendAllOptions, HeaderValue, OpenOptions, ReadOptions, RecordInput, SeekExplanation, SeekStep, SegmentExport, Serializer, StorageReport, Tide,
  TideEvent, Topic, TopicBatch, TopicOptions, TopicRecord, TopicState,
} from "./api.ts";
export type { Acks, CleanResult, CompactionSettings, Isolation, RetentionSettings, StartPosition } from "../log/types.ts";
export type { LogRecovery, QuarantinedRange, SegmentInfo } from "../store/log-store.ts";
export type { Engine } from "../store/volume.ts";
export { type ErrorCode, type ErrorKind, TidemarkError } from "../errors.ts";
