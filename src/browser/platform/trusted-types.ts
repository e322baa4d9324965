/** Addresses of workers in a page that enforces Trusted Types: there a plain string starts none. */

interface Policy {
  createScriptURL(address: string): string;
}
interface Factory {
  createPolicy(name: string, rules: Policy): Policy;
}
let policy: Policy | null | undefined;

/**
 * The address as the page lets it through. A page that forbids the policy gets the string, and says what it thinks of
 * that.
 */
export function trusted(address: string): string {
  const { trustedTypes } = globalThis as { trustedTypes?: Factory };
  if (policy === undefined) {
    try {
      policy = trustedTypes?.createPolicy("tidemark", { createScriptURL: (own) => own }) ?? null;
    } catch {
      policy = null;
    }
  }
  return policy ? policy.createScriptURL(address) : address;
}
