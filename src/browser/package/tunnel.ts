/** tunnel.js of the package: sync over HTTP, where no WebSocket gets through (platform/parts.ts). */
export { HttpWire } from "../../sync/http-wire.ts";
