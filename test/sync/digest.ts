/** One short text for all records of a topic and their offsets: equal where two readers see the same. */
export async function digestOf(records: readonly (readonly [offset: number, value: string])[]): Promise<string> {
  const text = records.map(([offset, value]) => `${offset} ${value}\n`).join("");
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
