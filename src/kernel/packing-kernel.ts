/**
 * The kernel with three more calls, for servers: it packs the values of many batches at once, makes a batch of a JSON
 * array's elements, and says whether bytes are JSON. This class has views of its own over the same memory.
 */
import { WasmEncodingKernel } from "./encoding-kernel.ts";
import { compileKernel, type KernelSource } from "./load.ts";
import {
  type ElementsRequest,
  type ElementsResult,
  KERNEL_BATCH_BYTES_MAX,
  Status,
  type PackingKernel,
  type PackRequest,
  type PackResult,
} from "./types.ts";

type Pack = (size: number, expectedOffset: number, from: number, to: number, mark: number, together: number) => number;
type EncodeElements = (
  size: number,
  headersSize: number,
  timestamp: number,
  bytesMax: number,
  valueMax: number,
) => number;

const NOTHING = new Uint8Array(0);

class WasmPackingKernel extends WasmEncodingKernel implements PackingKernel {
  readonly #pack: Pack;
  readonly #encodeElements: EncodeElements;
  readonly #isJson: (size: number) => number;
  readonly #in: Uint8Array;
  readonly #out: Uint8Array;
  readonly #result: Float64Array;

  constructor(instance: WebAssembly.Instance) {
    super(instance);
    const { exports } = instance;
    const { buffer } = exports["memory"] as WebAssembly.Memory;
    const at = (name: string): number => (exports[name] as WebAssembly.Global).value as number;
    this.#pack = exports["pack"] as Pack;
    this.#encodeElements = exports["encodeElements"] as EncodeElements;
    this.#isJson = exports["isJson"] as (size: number) => number;
    this.#in = new Uint8Array(buffer, at("IN"), KERNEL_BATCH_BYTES_MAX);
    this.#out = new Uint8Array(buffer, at("OUT"), KERNEL_BATCH_BYTES_MAX);
    this.#result = new Float64Array(buffer, at("RESULT"), 4);
  }

  pack(bytes: Uint8Array, { expectedOffset, from, to, mark }: PackRequest, into: Uint8Array): PackResult {
    const looked = bytes.length > KERNEL_BATCH_BYTES_MAX ? bytes.subarray(0, KERNEL_BATCH_BYTES_MAX) : bytes;
    const pack = (together: number): number => {
      this.#in.set(looked);
      return this.#pack(looked.length, expectedOffset, from, to, mark, together);
    };
    // A fraction would be cut to a whole number on its way into WebAssembly, so it is refused here.
    let status: number = (mark | 0) === mark ? pack(1) : Status.BAD_ARGUMENT;
    if (status !== Status.OK && status !== Status.BAD_ARGUMENT) status = pack(0);
    if (status === Status.BAD_ARGUMENT)
      return { status, validBytes: 0, nextOffset: expectedOffset, packedBytes: 0, values: 0 };
    const [validBytes = 0, nextOffset = 0, packedBytes = 0, values = 0] = this.#result;
    into.set(this.#out.subarray(0, packedBytes));
    return { status: status as Status, validBytes, nextOffset, packedBytes, values };
  }

  encodeElements({ bytes, headers, timestamp, bytesMax, valueMax }: ElementsRequest): ElementsResult {
    const room = KERNEL_BATCH_BYTES_MAX - headers.length;
    if (room < 0 || (bytesMax | 0) !== bytesMax || (valueMax | 0) !== valueMax)
      return { status: Status.BAD_ARGUMENT, takenBytes: 0, records: 0, batch: NOTHING };
    const looked = bytes.length > room ? bytes.subarray(0, room) : bytes;
    this.#in.set(headers);
    this.#in.set(looked, headers.length);
    const size = headers.length + looked.length;
    const status = this.#encodeElements(size, headers.length, timestamp, bytesMax, valueMax) as Status;
    const [takenBytes = 0, batchBytes = 0, records = 0] = this.#result;
    return { status, takenBytes, records, batch: this.#out.slice(0, batchBytes) };
  }

  isJson(bytes: Uint8Array): boolean {
    if (bytes.length > KERNEL_BATCH_BYTES_MAX) return false;
    this.#in.set(bytes);
    return this.#isJson(bytes.length) === 1;
  }
}

export const loadPackingKernel = async (source: KernelSource): Promise<PackingKernel> =>
  new WasmPackingKernel(await WebAssembly.instantiate(await compileKernel(source)));
