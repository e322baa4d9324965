/** What the volumes, the connection and the probe share of the browser: names of databases, kinds of exceptions, a pause. */
export const databaseName = (name: string): string => `tidemark:${name}`;
/** An empty database that says: this tide is in OPFS. */
export const markName = (name: string): string => `tidemark-opfs:${name}`;
export const isNamed = (thrown: unknown, name: string): boolean => thrown instanceof Error && thrown.name === name;
export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
