/**
 * The published Durable Streams server with its file store, in a process of its own: `node durable-streams.js
 * DIRECTORY`. Prints its address.
 */
import { DurableStreamTestServer } from "@durable-streams/server";

const server = new DurableStreamTestServer({
  port: 0,
  host: "127.0.0.1",
  dataDir: process.argv[2],
  compression: false,
});
console.log(await server.start());
