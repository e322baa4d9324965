/** The server's key for webhooks: Ed25519, made once, kept by one object, its public half at `__ds/jwks.json`. */

export interface SigningKey {
  readonly kid: string;
  readonly privateJwk: JsonWebKey;
  readonly publicJwk: JsonWebKey;
}

const encoder = new TextEncoder();

export const base64url = (bytes: Uint8Array): string => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");

export async function newSigningKey(): Promise<SigningKey> {
  const pair = (await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"])) as CryptoKeyPair;
  const privateJwk = await crypto.subtle.exportKey("jwk", pair.privateKey);
  const { kty, crv, x } = await crypto.subtle.exportKey("jwk", pair.publicKey);
  // RFC 7638: the thumbprint of the required members in order.
  const print = await crypto.subtle.digest("SHA-256", encoder.encode(JSON.stringify({ crv, kty, x })));
  return { kid: `ds_${base64url(new Uint8Array(print)).slice(0, 22)}`, privateJwk, publicJwk: { kty: kty!, crv: crv!, x: x! } };
}

export function jwksOf({ kid, publicJwk }: SigningKey): { keys: object[] } {
  return { keys: [{ ...publicJwk, kid, use: "sig", alg: "EdDSA" }] };
}

/** The value of `Webhook-Signature` for this body, now. */
export async function signatureOf({ kid, privateJwk }: SigningKey, body: string, nowMs: number): Promise<string> {
  const key = await crypto.subtle.importKey("jwk", privateJwk, "Ed25519", false, ["sign"]);
  const seconds = Math.floor(nowMs / 1000);
  const signature = await crypto.subtle.sign("Ed25519", key, encoder.encode(`${seconds}.${body}`));
  return `t=${seconds},kid=${kid},ed25519=${base64url(new Uint8Array(signature))}`;
}
