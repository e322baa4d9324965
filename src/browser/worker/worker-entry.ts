/**
 * The dedicated worker. Its first message says what it must do; everything else comes over the port in that message.
 */
import { start } from "./start.ts";

addEventListener("message", ({ data }) => void start(data), { once: true });
