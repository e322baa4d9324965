/** One delivery to a webhook: it is signed, has a time limit, and only the beginning of its answer is read. */
import { concat } from "../../src/record/bytes.ts";
import { signatureOf } from "./webhook-signing.ts";
import type { SigningKey } from "../rpc/subscription-peer.ts";

export const WEBHOOK_TIMEOUT_MS = 10_000;
/** Bytes of a webhook's answer that are read; only `done` is looked for. */
const ANSWER_BYTES = 4_096;

/** The webhook's answer. Undefined if it did not take the delivery. Throws if it can't be reached. */
export async function postWebhook(
  url: string,
  body: string,
  key: SigningKey,
): Promise<{ readonly done: boolean } | undefined> {
  const headers = { "content-type": "application/json", "webhook-signature": await signatureOf(key, body, Date.now()) };
  // Redirects are not followed: they could lead to an address that the check would have refused.
  const response = await fetch(url, {
    method: "POST",
    headers,
    body,
    redirect: "manual",
    signal: AbortSignal.timeout(WEBHOOK_TIMEOUT_MS),
  });
  if (response.ok) return { done: doneIn(await beginningOf(response)) };
  await response.body?.cancel();
  return undefined;
}

/** Whether a webhook's answer says that all is done. */
function doneIn(text: string): boolean {
  try {
    return (JSON.parse(text) as { readonly done?: unknown } | null)?.done === true;
  } catch {
    return false;
  }
}

/** The beginning of an answer's body. The rest is not read, however long it is. */
async function beginningOf(response: Response): Promise<string> {
  const reader = response.body?.getReader();
  if (!reader) return "";
  const parts: Uint8Array[] = [];
  let length = 0;
  while (length < ANSWER_BYTES) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    length += value.length;
  }
  await reader.cancel().catch(() => undefined);
  return new TextDecoder().decode(concat(parts).subarray(0, ANSWER_BYTES));
}
