// The modules that only exist inside workerd, as far as the worker uses them.
declare module "cloudflare:workers" {
  export abstract class DurableObject<Env = unknown> {
    constructor(ctx: import("@cloudflare/workers-types").DurableObjectState, env: Env);
    protected ctx: import("@cloudflare/workers-types").DurableObjectState;
    protected env: Env;
  }
}
declare module "*.wasm" {
  const module: WebAssembly.Module;
  export default module;
}
