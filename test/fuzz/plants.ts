/**
 * Planted bugs, each of which the named target must find within a bounded number of inputs. The test also fails when
 * the piece to replace does not occur exactly once in its file, so the list keeps up with the code.
 */
import type { Plant } from "./build.ts";
import type { TargetName } from "./targets.ts";

export interface FuzzPlant extends Plant {
  readonly name: string;
  readonly target: TargetName;
}

const plant = (name: string, target: TargetName, file: string, find: string, replace: string): FuzzPlant => ({
  name,
  target,
  file,
  find,
  replace,
});

const REFERENCE = "test/reference/kernel.ts";
const RECORDS = "test/reference/records.ts";
const WRAPPER = "src/kernel/wasm-kernel.ts";
const SERVER = "src/browser/port/port-server.ts";

export const PLANTS: readonly FuzzPlant[] = [
  plant(
    "a batch may be longer than it says",
    "decoder",
    REFERENCE,
    "refuse(size < bytes.length, Status.BAD_LENGTH);",
    "",
  ),
  plant("CRC ignored", "decoder", REFERENCE, "if (withCrc) checkCrc(bytes);", ""),
  plant(
    "a field may reach beyond its record",
    "decoder",
    RECORDS,
    "refuse(size < 0 || size > this.left, Status.BAD_RECORD);",
    "refuse(size < 0, Status.BAD_RECORD);",
  ),
  plant("a varint of any length", "decoder", RECORDS, "refuse(byte === 0 && shift > 0n, Status.BAD_RECORD);", ""),
  plant(
    "more records than offsets",
    "decoder",
    REFERENCE,
    " || count > lastOffsetDelta + 1, Status.BAD_COUNT);\n  refuse(!isSafe(view.getBigInt64(27))",
    ", Status.BAD_COUNT);\n  refuse(!isSafe(view.getBigInt64(27))",
  ),
  plant(
    "columns one short",
    "decoder",
    WRAPPER,
    "this.#rows.slice(0, result * COLUMNS)",
    "this.#rows.slice(0, result * COLUMNS - 1)",
  ),
  plant(
    "a filter without enough bits",
    "filter",
    REFERENCE,
    "refuse(keep.length * 8 < count, Status.BAD_ARGUMENT);",
    "",
  ),
  plant(
    "stale batches walked over",
    "scan",
    REFERENCE,
    "refuse(epoch < minEpoch || epoch > maxEpoch, Status.BAD_EPOCH);",
    "",
  ),
  plant(
    "packed values one byte short",
    "pack",
    "src/kernel/packing-kernel.ts",
    "this.#out.subarray(0, packedBytes)",
    "this.#out.subarray(0, packedBytes - 1)",
  ),
  plant("any offset packed", "pack", REFERENCE, "offset < from || offset >= to || length === -1", "length === -1"),
  plant(
    "a stream's own error escapes",
    "gzip",
    "src/record/record-batch.ts",
    'throw corrupt(bytes, "gzip", undefined, thrown);',
    "throw thrown;",
  ),
  plant(
    "a compressed header believed",
    "record",
    "src/record/record-batch.ts",
    "  throwUnlessOk(bytes, kernel.validateBatch(bytes));\n",
    "",
  ),
  plant(
    "a damaged footer taken",
    "footer",
    "src/store/footer.ts",
    "if (kernel.crc32c(bytes.subarray(0, CRC_AT)) !== view.getUint32(CRC_AT)) return undefined;",
    "",
  ),
  plant("any catalog believed", "catalog", "src/store/catalog-copy.ts", " || !isPossibleState(packed, slotBytes)", ""),
  plant(
    "marks beyond the slot",
    "slot",
    "src/store/slot-read.ts",
    "mark.position > volume.slotBytes - BODY_AT || ",
    "",
  ),
  plant(
    "a snapshot's counts believed",
    "volume",
    "src/log/producer-snapshot.ts",
    "if (count === 0 || at + producerBytes + count * SNAPSHOT_BATCH_BYTES > end) return false;",
    "",
  ),
  plant("any end of a fetch", "port-server", SERVER, "to: offset, isolation", "isolation"),
  plant("any acks", "port-server", SERVER, "append: { ...APPEND_OPTIONS, ", "append: { "),
  plant("any position", "port-server", SERVER, "resolve: { position: READ_OPTIONS.from,", "resolve: {"),
  plant(
    "messages that are none",
    "port-client",
    "src/browser/port/port-client.ts",
    "if (Object(message) !== message) return;",
    "",
  ),
];

/** Bugs in the compiled kernel's own sources. Comparing it with the reference kernel finds them. */
export const KERNEL_PLANTS: readonly FuzzPlant[] = [
  plant(
    "lengths above the limit",
    "decoder",
    "assembly/batch.ts",
    " || length > BATCH_BYTES_MAX - LENGTH_OVERHEAD",
    "",
  ),
  plant("a 33rd bit in a varint", "decoder", "assembly/varint.ts", "if (shift == 28 && byte > 0x0f) break;", ""),
  plant(
    "any negative length is null",
    "decoder",
    "assembly/decode.ts",
    "return size == -1 || skip(size);",
    "return size < 0 || skip(size);",
  ),
  plant(
    "packed without a look at the sum",
    "pack",
    "assembly/pack.ts",
    "checkBatch(at, size, checkCrc)",
    "checkBatch(at, size, false)",
  ),
  plant(
    "packed without a look at the sums together",
    "pack",
    "assembly/pack.ts",
    "status == OK && size > 0 && !areSumsGood(end)",
    "false",
  ),
  plant(
    "packed out of order",
    "pack",
    "assembly/pack.ts",
    "if (!anyOffset && baseOffset != nextOffset) return BAD_OFFSET;",
    "",
  ),
  plant("values of control batches", "pack", "assembly/pack.ts", "attributes & CONTROL ? 0 : ", ""),
  plant(
    "a batch cut short walked over",
    "scan",
    "assembly/scan.ts",
    "if (size > <i32>(end - at)) return NEED_MORE;",
    "",
  ),
];
