/** Raw OPFS: what the file system gives to bytes that come over a message. One growing file, one flush per message. */
import { serve } from "./serve.js";

let handle;
let at = 0;
let flushes = 0;

serve({
  async open(name) {
    const root = await navigator.storage.getDirectory();
    const file = await root.getFileHandle(name, { create: true });
    handle = await file.createSyncAccessHandle();
    handle.truncate(0);
    at = 0;
  },
  append(bytes) {
    at += handle.write(bytes, { at });
    handle.flush();
    flushes++;
    return at;
  },
  flushes: () => flushes,
  async close(name) {
    handle.close();
    await (await navigator.storage.getDirectory()).removeEntry(name);
  },
});
