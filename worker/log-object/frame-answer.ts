/** A request that carries one frame (front/frame-over-http.ts), in the object. The answer is a frame as well. */
import { decodeFrame, FrameType } from "../../src/sync/frames.ts";
import { BYTES_HEADER, FRAME_TYPE, readSpeaking } from "../../src/sync/http-words.ts";
import { badRequest } from "../errors.ts";
import { FRAME_HEADER } from "../rpc/internal-headers.ts";
import { OWNER_CHARS } from "../store/outbox-bytes.ts";
import { readBody } from "../wire/request-body.ts";
import type { SyncState } from "./outbox-sessions.ts";
import type { LogSockets } from "./sockets.ts";

/** Who speaks, as the Worker put it: the owner, a space, and the outbox with its standing. */
function speakerIn(text: string): SyncState | undefined {
  const speaking = readSpeaking(text.slice(OWNER_CHARS + 1));
  return speaking && { ...speaking, owner: text.slice(0, OWNER_CHARS), life: "" };
}

export async function answerFrame(request: Request, sockets: LogSockets): Promise<Response> {
  const frame = decodeFrame(await readBody(request));
  if (!frame) throw badRequest("the body is not one frame");
  const speaker = frame.type === FrameType.PUSH ? speakerIn(request.headers.get(FRAME_HEADER)!) : undefined;
  const answer = await sockets.answer(frame, speaker);
  const headers = {
    "content-type": FRAME_TYPE,
    "cache-control": "no-store",
    [BYTES_HEADER]: String(answer.byteLength),
  };
  return new Response(answer as BodyInit, { headers });
}
