/**
 * One way in for all hosts: each finds the bytes its own way and hands over a compiled module (Workers accept nothing
 * else), raw bytes, a response, or an address to fetch. The kernel imports nothing.
 */
import { TidemarkError } from "../errors.ts";
import type { Kernel } from "./types.ts";
import { instantiateKernel } from "./wasm-kernel.ts";

export type KernelSource = WebAssembly.Module | BufferSource | Response | URL | string;

/** "\0asm". A server that has no such file may answer with a page instead. */
const MAGIC = 0x6d736100;

export async function compileKernel(source: KernelSource | Promise<Response>): Promise<WebAssembly.Module> {
  let given = await source;
  let from = "what was given";
  if (given instanceof WebAssembly.Module) return given;
  if (typeof given === "string" || given instanceof URL) given = await fetch(given);
  // Not compileStreaming: it refuses every server that does not send application/wasm, and saves nothing on so few
  // bytes.
  if (typeof Response === "function" && given instanceof Response) {
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

export const loadKernel = async (source: KernelSource): Promise<Kernel> =>
  instantiateKernel(await compileKernel(source));
