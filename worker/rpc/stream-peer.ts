/**
 * What the objects of subscriptions ask of a stream's object, by RPC; log-object.ts does it. And what a stream tells of
 * itself.
 */

/** What a stream tells about itself. `id` is the id of its creation. */
export interface StreamTold {
  readonly path: string;
  readonly id: string;
  readonly tail: number;
}

/** RPC makes it asynchronous. */
export interface StreamPeer {
  /** Undefined if there is no stream. From this call on the stream reports its appends. */
  watched(): Promise<StreamTold | undefined>;
  /** One message on a wake stream. */
  appendJson(text: string): Promise<void>;
}
