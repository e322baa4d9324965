/**
 * What browsers, Workers and Node share of the web platform, as far as the rooms from kernel to topic use it. Only
 * src/tsconfig.json takes this file: there neither DOM nor Node nor Workers types exist, so a host's name in those
 * rooms is a type error. All other programs have the same names from their host's own types. (The shared set: WinterTC,
 * Minimum Common Web Platform API.)
 */
type BufferSource = ArrayBufferView<ArrayBuffer> | ArrayBuffer;

declare class TextEncoder {
  encode(text?: string): Uint8Array<ArrayBuffer>;
  encodeInto(text: string, bytes: Uint8Array): { readonly read: number; readonly written: number };
}
declare class TextDecoder {
  constructor(label?: string, options?: { readonly fatal?: boolean; readonly ignoreBOM?: boolean });
  decode(bytes?: BufferSource | ArrayBufferView, options?: { readonly stream?: boolean }): string;
}

declare function atob(text: string): string;
declare function queueMicrotask(work: () => void): void;
declare function structuredClone<T>(value: T): T;

interface AbortSignal {
  readonly aborted: boolean;
  readonly reason: unknown;
  throwIfAborted(): void;
  addEventListener(type: "abort", listener: () => void, options?: { readonly once?: boolean }): void;
  removeEventListener(type: "abort", listener: () => void): void;
}
declare var AbortSignal: { readonly prototype: AbortSignal; new (): AbortSignal };
declare class AbortController {
  readonly signal: AbortSignal;
  abort(reason?: unknown): void;
}

declare class Blob {
  readonly size: number;
  slice(from: number, to: number): Blob;
  arrayBuffer(): Promise<ArrayBuffer>;
}

interface ReadableStream<R = unknown> {
  getReader(): {
    read(): Promise<{ readonly done: false; readonly value: R } | { readonly done: true; readonly value?: R }>;
    cancel(reason?: unknown): Promise<void>;
    releaseLock(): void;
  };
}
interface WritableStream<W = unknown> {
  getWriter(): { write(part: W): Promise<void>; close(): Promise<void>; abort(reason?: unknown): Promise<void> };
}
declare class CompressionStream {
  constructor(format: "gzip");
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly writable: WritableStream<BufferSource>;
}
declare class DecompressionStream extends CompressionStream {}

declare class URL {
  constructor(url: string, base?: string | URL);
  readonly href: string;
}
declare class Response {
  constructor(body: BufferSource, init: { readonly headers: Record<string, string> });
  readonly ok: boolean;
  readonly url: string;
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  clone(): Response;
  arrayBuffer(): Promise<ArrayBuffer>;
}
declare function fetch(url: string | URL): Promise<Response>;

declare namespace WebAssembly {
  class Memory {
    readonly buffer: ArrayBuffer;
  }
  class Global {
    value: unknown;
  }
  class Module {
    private readonly isModule: true;
  }
  class Instance {
    constructor(module: Module);
    readonly exports: Record<string, unknown>;
  }
  function compile(bytes: BufferSource): Promise<Module>;
  function compileStreaming(source: Response | Promise<Response>): Promise<Module>;
  function instantiate(module: Module): Promise<Instance>;
}
