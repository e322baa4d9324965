/** The log's object with schemas for some of its streams (stream-schemas.ts). */
import { LogObject } from "./log-object.ts";
import { type StreamSchemaMap, StreamSchemas } from "./stream-schemas.ts";

/**
 * A LogObject for your Worker to export, whose streams take only what fits their schema:
 *
 *     export const LogObject = withSchemas({ "orders/*": Order, "todos/**": { schema: Todo, version: 2, upcast } });
 *
 * The first pattern counts that fits a stream's path. Other streams take what they always take. INVALID_ARGUMENT, when
 * the Worker is loaded, for a wrong option.
 */
export function withSchemas(schemas: StreamSchemaMap): typeof LogObject {
  const checked = new StreamSchemas(schemas);
  return class extends LogObject {
    protected override judgeOf(path: string): ReturnType<StreamSchemas["of"]> {
      return checked.of(path);
    }
  };
}
