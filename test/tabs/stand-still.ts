/**
 * Makes a worker's thread stand still: no message, timer or promise gets a turn, as during a loop that does not end. It
 * takes no processor time meanwhile, so that others are judged and not the machine. Sent into a worker as it stands.
 */
export function standStill(ms: number): void {
  // The only shared memory in a page that is not isolated.
  const { buffer } = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  Atomics.wait(new Int32Array(buffer), 0, 0, ms);
}
