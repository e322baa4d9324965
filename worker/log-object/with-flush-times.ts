/** The log's object, which tells how long each of its flushes took. */
import { callback } from "../../src/topic/check.ts";
import { LogObject } from "./log-object.ts";

/** One flush: from a commit until the platform has confirmed that it is stored, which an ack waits for. */
export interface FlushTold {
  readonly tenant: string;
  /** The stream's path. */
  readonly topic: string;
  readonly ms: number;
  /** The error's name if the flush failed. The acks of such a flush never leave the object. */
  readonly failed?: string | undefined;
}

/**
 * A LogObject for your Worker to export, which tells of its flushes, as `flushes()` of tidemark/otel takes them:
 *
 *     export const LogObject = withFlushTimes(flushes());
 *
 * `Base`: another class of log objects, such as that of withSchemas(). Default: LogObject. `told` runs behind the ack,
 * in the object; an error of it is reported as uncaught and changes nothing.
 */
export function withFlushTimes(told: (flush: FlushTold) => void, Base: typeof LogObject = LogObject): typeof LogObject {
  callback("told", told);
  return class extends Base {
    protected override committed(tenant: string, topic: string): void {
      super.committed(tenant, topic);
      const began = performance.now();
      const tell = (failed?: string): void =>
        told({ tenant, topic, ms: performance.now() - began, ...(failed !== undefined && { failed }) });
      // The output gate holds the ack back until then; nothing waits for this call.
      void this.ctx.storage.sync().then(
        () => tell(),
        (thrown: unknown) => tell(thrown instanceof Error ? thrown.name : "_OTHER"),
      );
    }
  };
}
