/** The SharedWorker's script, in the sources. */
import { serveTabs } from "./broker.ts";

serveTabs(globalThis as typeof globalThis & Parameters<typeof serveTabs>[0]);
