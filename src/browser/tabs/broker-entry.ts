/** The SharedWorker's script, in the sources. */
import { serveTabs } from "./broker.ts";

serveTabs(globalThis as unknown as Parameters<typeof serveTabs>[0]);
