/** The entry `tidemark`: the parts that run on any host. The browser's entry is `tidemark/browser`. */
export { type ErrorCode, type ErrorDetails, type ErrorKind, TidemarkError, type WireError } from "./errors.ts";
export { type KernelSource, loadKernel } from "./kernel/load.ts";
export type {
  EncodeRequest,
  EncodingKernel,
  Kernel,
  RecordColumns,
  ScanRequest,
  ScanResult,
  Status,
} from "./kernel/types.ts";
export { BatchBuilder, type BatchLimits, type BatchOwner, type BuilderRecord } from "./record/batch-builder.ts";
export { compressBatch } from "./record/codec.ts";
export { type BatchHeader, readHeader, stampBaseOffset, stampLeaderEpoch } from "./record/format.ts";
export { decodeBatch, type DecodeOptions, RecordBatch, splitBatches } from "./record/record-batch.ts";
export { isTransactional, markerOf } from "./record/transactions.ts";
export { type KafkaFiles, kafkaFiles, type KafkaFilesOptions } from "./store/kafka-files.ts";
export { MemoryVolume, type MemoryVolumeOptions } from "./store/memory-volume.ts";
export { SegmentStore, type SegmentStoreOptions, type StoreRecovery } from "./store/segment-store.ts";
export type { SegmentedLog } from "./store/segmented-log.ts";
export type {
  CompactedTo,
  FetchedBatches,
  LogRecovery,
  LogStore,
  QuarantinedRange,
  ReplacementSegment,
  SegmentInfo,
} from "./store/log-store.ts";
export type { Engine, Volume, VolumeInfo } from "./store/volume.ts";
export { Log, type Offered } from "./log/log.ts";
export type {
  Acks,
  AppendResult,
  CleanResult,
  Clock,
  Fetched,
  FetchOptions,
  Isolation,
  LogApi,
  LogAppendOptions,
  LogOptions,
  LogSettings,
  OwnRecord,
  StartPosition,
} from "./log/types.ts";
export {
  Producer,
  type ProducerAck,
  type ProducerBatchAck,
  type ProducerOptions,
  type ProducerRecord,
} from "./delivery/producer.ts";
export type { Deserializer } from "./delivery/read-record.ts";
export { readBatches, type ReadSource } from "./delivery/reader.ts";
export type { BatchReading } from "./delivery/reading.ts";
