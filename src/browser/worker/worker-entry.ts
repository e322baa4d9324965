/** The dedicated worker: its first message says what it is for, everything else comes over the port in it. */
import { start } from "./start.ts";

addEventListener("message", ({ data }) => void start(data), { once: true });
