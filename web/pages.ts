/**
 * The pages of this playground in one browser. They tell each other when the log has changed, and all of them release
 * the log while one of them damages its files.
 *
 *   every page           holds the lock in shared mode, from before it opens the log until it ends
 *   one that does harm   asks for the exclusive lock, says "let go", changes the file, and then opens like any page
 *   the others           reload when they hear that, and wait for the lock behind it
 */
const LOCK = "playground-open";
const REOPENED = "playground-reopened";
/**
 * A page that is frozen, or stopped at a breakpoint, does not release the log. After this time the harm is given up.
 */
const LET_GO_MS = 5_000;

type Word = "changed" | "let go";
const channel = new BroadcastChannel("playground");
const listeners: (() => void)[] = [];

channel.onmessage = ({ data }: MessageEvent<Word>) => {
  if (data === "changed") for (const listener of listeners) listener();
  if (data !== "let go") return;
  sessionStorage.setItem(REOPENED, "yes");
  location.reload();
};

/** `listener` is called when another page has changed the log. */
export const onChange = (listener: () => void): void => void listeners.push(listener);
export const tellChange = (): void => channel.postMessage("changed" satisfies Word);

/** True, once, in a page that was reloaded because another page damaged the log. */
export function wasReopened(): boolean {
  const flag = sessionStorage.getItem(REOPENED);
  sessionStorage.removeItem(REOPENED);
  return flag !== null;
}

/** Resolves when this page may open the log. It may until it ends. */
export function mayOpen(): Promise<void> {
  return new Promise((resolve, reject) => {
    const held = (): Promise<never> => {
      resolve();
      return new Promise(() => undefined);
    };
    navigator.locks.request(LOCK, { mode: "shared" }, held).catch(reject);
  });
}

/** Runs `work` while no page has the log open. */
export async function alone<Result>(work: () => Promise<Result>): Promise<Result> {
  const patience = new AbortController();
  const timer = setTimeout(
    () =>
      patience.abort(new Error("Another tab of the playground does not let go of the log. Close it and try again.")),
    LET_GO_MS,
  );
  let isGranted = false;
  const done = navigator.locks.request(LOCK, { signal: patience.signal }, () => {
    isGranted = true;
    clearTimeout(timer);
    return work();
  });
  done.catch(() => undefined);
  // A page that reloads must find this request in the queue before its own.
  const isQueued = async (): Promise<boolean> =>
    (await navigator.locks.query()).pending!.some(({ name }) => name === LOCK);
  while (!isGranted && !patience.signal.aborted && !(await isQueued()));
  if (!isGranted) channel.postMessage("let go" satisfies Word);
  return done as Promise<Result>;
}
