/**
 * What a device reads in its token. The edge alone judges it; a device looks only when to ask for the next one, and
 * whether the next one is somebody else's. A token need not be a JWT, and then it says neither.
 *
 *     header.payload.signature     the payload: JSON in base64url, with exp and iat in seconds, tenant and sub
 */
interface Claims {
  readonly exp?: unknown;
  readonly iat?: unknown;
  readonly tenant?: unknown;
  readonly sub?: unknown;
}

function claimsOf(token: string | undefined): Claims | undefined {
  try {
    const text = atob(token!.split(".")[1]!.replaceAll("-", "+").replaceAll("_", "/"));
    return JSON.parse(text) as Claims;
  } catch {
    return undefined;
  }
}

/** How many milliseconds a JWT lives: in all, and from now on. Undefined if it does not say. */
export function tokenLife(token: string, now: number): { readonly left: number; readonly whole: number } | undefined {
  const { exp, iat } = claimsOf(token) ?? {};
  if (typeof exp !== "number") return undefined;
  const left = exp * 1000 - now;
  return { left, whole: typeof iat === "number" ? (exp - iat) * 1000 : left };
}

/** False if the two may be of two owners, as far as they say. An owner is a tenant and a subject. */
export function isSameOwner(one: string | undefined, other: string): boolean {
  const [a, b] = [claimsOf(one), claimsOf(other)];
  return a?.tenant !== undefined && a.tenant === b?.tenant && a.sub === b.sub;
}
