/** The kernel with a call that makes a batch of columns. This class has views of its own over the same memory. */
import {
  type EncodeRequest,
  type EncodingKernel,
  KERNEL_BATCH_BYTES_MAX,
  KERNEL_BATCH_RECORDS_MAX,
  Status,
} from "./types.ts";
import { areInts, WasmKernel } from "./wasm-kernel.ts";

type Encode = (
  blobSize: number,
  count: number,
  attributes: number,
  producerId: number,
  producerEpoch: number,
  baseSequence: number,
) => number;

const NOTHING = new Uint8Array(0);

export class WasmEncodingKernel extends WasmKernel implements EncodingKernel {
  readonly #encode: Encode;
  readonly #in: Uint8Array;
  readonly #out: Uint8Array;
  readonly #lengths: Int32Array;
  readonly #stamps: Float64Array;

  constructor(instance: WebAssembly.Instance) {
    super(instance);
    const { exports } = instance;
    const { buffer } = exports["memory"] as WebAssembly.Memory;
    const at = (name: string): number => (exports[name] as WebAssembly.Global).value as number;
    this.#encode = exports["encode"] as Encode;
    this.#in = new Uint8Array(buffer, at("IN"), KERNEL_BATCH_BYTES_MAX);
    this.#out = new Uint8Array(buffer, at("OUT"), KERNEL_BATCH_BYTES_MAX);
    this.#lengths = new Int32Array(buffer, at("ROWS"), KERNEL_BATCH_RECORDS_MAX * 3);
    this.#stamps = new Float64Array(buffer, at("STAMPS"), KERNEL_BATCH_RECORDS_MAX);
  }

  encodeBatch(request: EncodeRequest): { status: Status; bytes: Uint8Array } {
    const { blob, lengths, timestamps, count, attributes, producerId, producerEpoch, baseSequence } = request;
    if (blob.length > KERNEL_BATCH_BYTES_MAX || count > KERNEL_BATCH_RECORDS_MAX)
      return { status: Status.TOO_LARGE, bytes: NOTHING };
    if (
      !areInts(count, attributes, producerEpoch, baseSequence) ||
      lengths.length < count * 3 ||
      timestamps.length < count
    ) {
      return { status: Status.BAD_ARGUMENT, bytes: NOTHING };
    }
    this.#in.set(blob);
    if (count > 0) {
      this.#lengths.set(lengths.subarray(0, count * 3));
      this.#stamps.set(timestamps.subarray(0, count));
    }
    const result = this.#encode(blob.length, count, attributes, producerId, producerEpoch, baseSequence);
    if (result < 0) return { status: -result as Status, bytes: NOTHING };
    return { status: Status.OK, bytes: this.#out.slice(0, result) };
  }
}
