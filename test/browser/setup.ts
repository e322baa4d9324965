/** Before each file: the quota is the real one, whatever a file before it did to it, and however it ended. */
import { beforeAll } from "vitest";
import { leaveRoom } from "./devtools.ts";

beforeAll(() => leaveRoom());
