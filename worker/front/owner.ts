/**
 * Names the owner of the outboxes that a caller may use: a short hash of the token's tenant and subject, which reveals
 * neither.
 */
import { textEncoder } from "../../src/record/bytes.ts";
import { ownerText } from "../store/outbox-bytes.ts";
import type { Caller } from "./auth.ts";

/** base64url of the first 9 bytes of SHA-256(tenant, 0, subject). */
export async function ownerOf({ tenant, subject }: Pick<Caller, "tenant" | "subject">): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", textEncoder.encode(`${tenant}\0${subject}`));
  return ownerText(new Uint8Array(digest));
}
