/** Takes sync access handles away, as in a browser that lacks them; imported before the worker's own code. */
delete (FileSystemFileHandle.prototype as { createSyncAccessHandle?: unknown }).createSyncAccessHandle;
