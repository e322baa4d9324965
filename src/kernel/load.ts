/**
 * Loads the kernel on any host. A host finds the bytes in its own way and passes a compiled module (Workers accept
 * nothing else), raw bytes, a response, or an address to fetch. The kernel imports nothing.
 */
import { TidemarkError } from "../errors.ts";
import { WasmEncodingKernel } from "./encoding-kernel.ts";
import type { EncodingKernel } from "./types.ts";

export type KernelSource = WebAssembly.Module | BufferSource | Response | URL | string;

/** "\0asm", the first bytes of WebAssembly. A server without the file may answer with a web page instead. */
const MAGIC = 0x6d736100;

export async function compileKernel(source: KernelSource | Promise<Response>): Promise<WebAssembly.Module> {
  let given = await source;
  let from = "what was given";
  if (given instanceof WebAssembly.Module) return given;
  if (typeof given === "string" || given instanceof URL) given = await fetch(given);
  // Not compileStreaming: it refuses the answer of any server that does not send application/wasm, and for so few bytes
  // it saves no time.
  // Node loads all that it fetches with where the name Response is used: a third of the time in which a program starts.
  if (!ArrayBuffer.isView(given) && given instanceof Response) {
    if (!given.ok) throw new TidemarkError("INVALID_ARGUMENT", `no kernel at ${given.url}: HTTP ${given.status}`);
    from = `what ${given.url} answers (${given.headers.get("content-type")})`;
    given = await given.arrayBuffer();
  }
  const bytes = ArrayBuffer.isView(given)
    ? new Uint8Array(given.buffer, given.byteOffset, given.byteLength)
    : given instanceof ArrayBuffer && new Uint8Array(given);
  if (!bytes || bytes.length < 4 || new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true) !== MAGIC) {
    throw new TidemarkError("INVALID_ARGUMENT", `no kernel: ${from} is no WebAssembly`);
  }
  return WebAssembly.compile(bytes as BufferSource);
}

export const loadKernel = async (source: KernelSource): Promise<EncodingKernel> =>
  new WasmEncodingKernel(await WebAssembly.instantiate(await compileKernel(source)));
