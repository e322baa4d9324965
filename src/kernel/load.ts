/**
 * One way in for all hosts: each finds the bytes its own way and hands over a compiled module (Workers accept nothing
 * else), raw bytes, a response, or an address to fetch. The kernel imports nothing.
 */
import { TidemarkError } from "../errors.ts";
import type { Kernel } from "./types.ts";
import { instantiateKernel } from "./wasm-kernel.ts";

export type KernelSource = WebAssembly.Module | BufferSource | Response | URL | string;

export async function compileKernel(source: KernelSource | Promise<Response>): Promise<WebAssembly.Module> {
  let given = await source;
  if (given instanceof WebAssembly.Module) return given;
  if (typeof given === "string" || given instanceof URL) given = await fetch(given);
  // Not compileStreaming: it refuses every server that does not send application/wasm, and saves nothing on so few bytes.
  if (typeof Response === "function" && given instanceof Response) {
    if (!given.ok) throw new TidemarkError("INVALID_ARGUMENT", `no kernel at ${given.url}: HTTP ${given.status}`);
    given = await given.arrayBuffer();
  }
  return WebAssembly.compile(given as BufferSource);
}

export const loadKernel = async (source: KernelSource): Promise<Kernel> => instantiateKernel(await compileKernel(source));
