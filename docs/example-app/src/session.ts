/** Who is signed in, and the token with which this device talks to the edge (edge/index.ts has the other end). */

/** Remembered, so that the list opens without a network. */
const KEY = "name";
export const signedIn = (): string | null => localStorage.getItem(KEY);

export async function signIn(name: string): Promise<void> {
  const response = await fetch("/sign-in", { method: "POST", body: name });
  if (!response.ok) throw new Error(await response.text());
  localStorage.setItem(KEY, name);
}

export async function signOut(): Promise<void> {
  localStorage.removeItem(KEY);
  await fetch("/sign-out", { method: "POST" });
}

/**
 * Sync asks for a token whenever it needs one. null says that nobody is signed in: sync waits for `authenticate()`. If
 * there is no network this rejects, and sync asks again later.
 */
export async function token(): Promise<string | null> {
  const response = await fetch("/token");
  if (response.status === 401) return null;
  if (!response.ok) throw new Error(`no token: ${response.status}`);
  return response.text();
}
