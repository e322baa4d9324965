/** OPFS as Safari has it in private windows, and elsewhere now and then; imported before the worker's own code. */
StorageManager.prototype.getDirectory = async () => {
  throw new DOMException("The operation failed for an unknown transient reason", "UnknownError");
};
