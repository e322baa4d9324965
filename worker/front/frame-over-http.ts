/**
 * One frame in one request, where no WebSocket gets through (src/sync/http-words.ts). Rights are checked here as for a
 * frame on a socket; the object answers as if the frame had come through one.
 *
 *   client ── POST, one frame ──▶ here ── FRAME_HEADER: who asks, and for which outbox ──▶ object ──▶ one frame
 */
import { decodeFrame, type Frame, FrameType } from "../../src/sync/frames.ts";
import { OUTBOX_HEADER, readSpeaking } from "../../src/sync/http-words.ts";
import type { Env } from "../env.ts";
import { badRequest } from "../errors.ts";
import { FRAME_HEADER } from "../rpc/internal-headers.ts";
import { withAsker } from "../rpc/join-prefix.ts";
import { quoted } from "../wire/fields.ts";
import { OF_POST, refuseHeaders } from "../wire/heeded.ts";
import { readBody } from "../wire/request-body.ts";
import { allows, type Caller } from "./auth.ts";
import { forward } from "./forward.ts";
import { ownerOf } from "./owner.ts";

/** The frames that have one answer each. A follow has many: it is a long-poll. */
const ANSWERED = new Set<number>([FrameType.OPEN, FrameType.JOIN, FrameType.PUSH, FrameType.FETCH]);

function frameIn(body: Uint8Array): Frame {
  const frame = decodeFrame(body);
  if (!frame) throw badRequest("the body is not one frame: a header of 12 bytes, and the payload");
  if (!ANSWERED.has(frame.type))
    throw badRequest(`frames of type ${frame.type} have no answer over HTTP: send an open, a join, a push or a fetch`);
  return frame;
}

export async function frameOverHttp(request: Request, env: Env, caller: Caller, path: string): Promise<Response> {
  const body = await readBody(request);
  const frame = frameIn(body);
  refuseHeaders(request.headers, "a frame", OF_POST);
  const [reads, writes] = [allows(caller, "read", path), allows(caller, "write", path)];
  if (frame.type === FrameType.PUSH) caller.require("write", path);
  else if (frame.type === FrameType.FETCH || !writes) caller.require("read", path);
  const owner = await ownerOf(caller);
  const speaks = request.headers.get(OUTBOX_HEADER);
  if (frame.type === FrameType.PUSH && !readSpeaking(speaks))
    throw badRequest(
      `${OUTBOX_HEADER} is ${quoted(speaks ?? "")}; a push has it as <16 hex digits>; generation=<n>; term=<n>`,
    );
  const isJoin = frame.type === FrameType.JOIN;
  const asked = isJoin ? withAsker(frame, { owner, mayWrite: writes }) : body;
  const url = new URL(request.url);
  url.search = "";
  return forward(url, new Request(url, { method: "POST", body: asked as BodyInit }), env, caller.tenant, path, {
    [FRAME_HEADER]: frame.type === FrameType.PUSH ? `${owner} ${speaks}` : owner,
  });
}
