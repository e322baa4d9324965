/** The entry `tidemark`: the parts that run on any host. The browser's entry is `tidemark/browser`. */
export { type ErrorCode, type ErrorKind, TidemarkError, type WireError } from "./errors.ts";
export { loadKernel } from "./kernel/load.ts";
export type { Kernel } from "./kernel/types.ts";
export { BatchBuilder } from "./record/batch-builder.ts";
export { compressBatch } from "./record/codec.ts";
export { type BatchHeader, readHeader, stampBaseOffset, stampLeaderEpoch } from "./record/format.ts";
export { decodeBatch, RecordBatch, splitBatches } from "./record/record-batch.ts";
export { type KafkaFiles, kafkaFiles, type KafkaFilesOptions } from "./store/kafka-files.ts";
export { MemoryVolume } from "./store/memory-volume.ts";
export { SegmentStore } from "./store/segment-store.ts";
export type { LogRecovery, LogStore, QuarantinedRange, SegmentInfo } from "./store/log-store.ts";
export type { Engine, Volume, VolumeInfo } from "./store/volume.ts";
export { Log } from "./log/log.ts";
export type {
  Acks,
  AppendResult,
  CleanResult,
  Clock,
  Isolation,
  LogApi,
  LogSettings,
  StartPosition,
} from "./log/types.ts";
export { Producer } from "./delivery/producer.ts";
export { readBatches } from "./delivery/reader.ts";
