/** What a page still draws while it appends: `--only bindings`. The target is 50 frames a second at 10,000 records. */

export async function bindings(bench, size, result) {
  await bench.reload();
  const { frames, appended, ms, idleFrameMs } = await bench.run("reactFrames", ...size.frames);
  result.figures["bindings.react.frameMs"] = ms / frames;
  result.figures["bindings.react.idleFrameMs"] = idleFrameMs;
  result.figures["bindings.react.recordsPerSecond"] = (appended / ms) * 1000;
}
