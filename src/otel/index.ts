/**
 * `tidemark/otel`: traces and metrics over `@opentelemetry/api`, an optional peer. Nothing of it is loaded by who does
 * not import it.
 *
 *     const orders = tide.topic("orders", { use: [telemetry()] });
 *     const stop = observe(tide);
 *     for await (const record of orders.read()) await processing("orders", record, () => handle(record));
 */
export { ATTRIBUTE, INSTRUMENT } from "./names.ts";
export { flushes, type FlushTold } from "./flushes.ts";
export { observe } from "./observe.ts";
export { type ProcessedRecord, processing } from "./process.ts";
export { telemetry, type TelemetryOptions } from "./telemetry.ts";
