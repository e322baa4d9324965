/** What the volumes, the connection and the probe share of the browser: names of databases, kinds of exceptions, a pause. */
export const databaseName = (name: string): string => `tidemark:${name}`;
/** Empty databases that say of a tide what can't be told otherwise: that it is in OPFS, or in a private window. */
export const markName = (name: string, of: "opfs" | "private"): string => `tidemark-${of}:${name}`;
export const isNamed = (thrown: unknown, name: string): boolean => thrown instanceof Error && thrown.name === name;
export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
