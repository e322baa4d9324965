/** A worker's answer loop: { id, method, args } in, { id, ok } or { id, error } out, one after the other. */
export function serve(methods) {
  let turn = Promise.resolve();
  self.onmessage = ({ data: { id, method, args } }) => {
    turn = turn.then(async () => {
      try {
        self.postMessage({ id, ok: await methods[method](...args) });
      } catch (thrown) {
        self.postMessage({ id, error: String(thrown?.stack ?? thrown) });
      }
    });
  };
}
