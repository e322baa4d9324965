// Modules that exist only inside workerd, or that bring no types, as far as the worker uses them.
declare module "cloudflare:workers" {
  export abstract class DurableObject<Env = unknown> {
    constructor(ctx: import("@cloudflare/workers-types").DurableObjectState, env: Env);
    protected ctx: import("@cloudflare/workers-types").DurableObjectState;
    protected env: Env;
    fetch?(request: Request): Response | Promise<Response>;
    alarm?(): void | Promise<void>;
    webSocketMessage?(socket: WebSocket, message: string | ArrayBuffer): void | Promise<void>;
    webSocketClose?(socket: WebSocket, code: number, reason: string, wasClean: boolean): void | Promise<void>;
    webSocketError?(socket: WebSocket, error: unknown): void | Promise<void>;
  }
}
/** This package brings no types of its own. */
declare module "whatwg-mimetype" {
  export class MIMEType {
    static parse(text: string): MIMEType | null;
    readonly essence: string;
    readonly type: string;
    readonly subtype: string;
    readonly parameters: Iterable<[name: string, value: string]>;
  }
}
declare module "*.wasm" {
  const module: WebAssembly.Module;
  export default module;
}
/**
 * The types of Workers leave this out, because it refuses bytes there. In a Worker src/kernel/load.ts is given a
 * module.
 */
declare namespace WebAssembly {
  function compile(bytes: BufferSource): Promise<Module>;
}
