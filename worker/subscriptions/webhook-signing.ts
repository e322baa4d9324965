/**
 * Signs deliveries to webhooks, and tokens of wakes, with the server's key: Ed25519, made once and kept by one object.
 * Its public half is published at `__ds/jwks.json`.
 */
import { textEncoder } from "../../src/record/bytes.ts";
import type { SigningKey } from "../rpc/subscription-peer.ts";

export const base64url = (bytes: Uint8Array): string =>
  btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replace(/=+$/, "");

export const bytesOfBase64url = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));

export async function newSigningKey(): Promise<SigningKey> {
  const pair = (await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"])) as CryptoKeyPair;
  const privateJwk = (await crypto.subtle.exportKey("jwk", pair.privateKey)) as JsonWebKey;
  const { kty, crv, x } = (await crypto.subtle.exportKey("jwk", pair.publicKey)) as JsonWebKey;
  // RFC 7638: the thumbprint is over the required members in this order.
  const print = await crypto.subtle.digest("SHA-256", textEncoder.encode(JSON.stringify({ crv, kty, x })));
  return {
    kid: `ds_${base64url(new Uint8Array(print)).slice(0, 22)}`,
    privateJwk,
    publicJwk: { kty: kty!, crv: crv!, x: x! },
  };
}

export function jwksOf({ kid, publicJwk }: SigningKey): { keys: object[] } {
  return { keys: [{ ...publicJwk, kid, use: "sig", alg: "EdDSA" }] };
}

export async function signText({ privateJwk }: SigningKey, text: string): Promise<Uint8Array> {
  const key = await crypto.subtle.importKey("jwk", privateJwk, "Ed25519", false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("Ed25519", key, textEncoder.encode(text)));
}

export async function verifyText(
  publicJwk: JsonWebKey,
  text: string,
  signature: Uint8Array<ArrayBuffer>,
): Promise<boolean> {
  const key = await crypto.subtle.importKey("jwk", publicJwk, "Ed25519", false, ["verify"]);
  return crypto.subtle.verify("Ed25519", key, signature, textEncoder.encode(text));
}

/** The value of `Webhook-Signature` for this body at this time. */
export async function signatureOf(key: SigningKey, body: string, nowMs: number): Promise<string> {
  const seconds = Math.floor(nowMs / 1000);
  const signature = await signText(key, `${seconds}.${body}`);
  return `t=${seconds},kid=${key.kid},ed25519=${base64url(signature)}`;
}
