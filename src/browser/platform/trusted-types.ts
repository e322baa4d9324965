/** Addresses of workers in a page that enforces Trusted Types, where a plain string can't start a worker. */

interface Policy {
  createScriptURL(address: string): string;
}
interface Factory {
  createPolicy(name: string, rules: Policy): Policy;
}
let policy: Policy | null | undefined;

/**
 * The address in a form that the page accepts. If the page forbids the policy, the plain string is returned, and the
 * browser refuses that.
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
