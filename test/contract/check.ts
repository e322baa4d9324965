/** The few assertions of contract cases. These also run in workers and in workerd, where there is no test framework. */
import { type ErrorCode, TidemarkError } from "../../src/errors.ts";

export function check(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(message);
}

const show = (value: unknown): string =>
  value instanceof Uint8Array ? `bytes(${value.length})` : (JSON.stringify(value) ?? String(value));

/** Deep equality of plain data and byte arrays. */
export function equal(actual: unknown, expected: unknown, what = "value"): void {
  if (!same(actual, expected)) throw new Error(`${what}: got ${show(actual)}, expected ${show(expected)}`);
}

function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (a instanceof Uint8Array && b instanceof Uint8Array)
    return a.length === b.length && a.every((byte, at) => byte === b[at]);
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => same(Reflect.get(a, key), Reflect.get(b, key)));
}

/** Returns the TidemarkError of this code that `work` fails with. Fails itself on success or on any other error. */
export async function fails(code: ErrorCode, work: Promise<unknown> | (() => unknown)): Promise<TidemarkError> {
  try {
    await (typeof work === "function" ? work() : work);
  } catch (thrown) {
    if (thrown instanceof TidemarkError && thrown.code === code) return thrown;
    throw thrown;
  }
  throw new Error(`expected ${code}, but it succeeded`);
}

/** A turn of the event loop. Where storage answers at once, a loop of awaits would let nothing else run. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(0);
  });
}
