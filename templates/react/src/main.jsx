/** A list of notes, the same in every tab, and still there tomorrow. */
import { Component, StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { TideProvider, useAppend, useView } from "tidemark/react";
import { list, notes } from "./notes.js";

function Notes() {
  const all = useView(list);
  const { append, pending, error, retry } = useAppend(notes);
  return (
    <main>
      <h1>Notes</h1>
      <form action={(data) => void append({ value: data.get("text") })}>
        <input name="text" required aria-label="Note" autoComplete="off" /> <button>Add</button>
      </form>
      <ul id="notes">
        {all.map(({ id, text }) => (
          <li key={id}>{text}</li>
        ))}
        {pending.map(({ record }, i) => (
          <li key={`pending ${i}`} style={{ opacity: 0.5 }}>
            {String(record.value)}
          </li>
        ))}
      </ul>
      {error && (
        <p role="alert">
          Not saved: {error.message} <button onClick={retry}>Try again</button>
        </p>
      )}
    </main>
  );
}

/** Hooks throw what keeps the list from being opened or read, such as a browser without storage for this page. */
class ErrorBoundary extends Component {
  /** @override */
  state = { error: undefined };
  static getDerivedStateFromError(error) {
    return { error };
  }
  /** @override */
  render() {
    const { error } = this.state;
    if (!error) return this.props.children;
    // The message says what to do.
    return (
      <main>
        <h1>Notes</h1>
        <p role="alert">The list can't be opened: {error.message}</p>
        <button onClick={() => location.reload()}>Try again</button>
      </main>
    );
  }
}

createRoot(document.getElementById("app")).render(
  <StrictMode>
    <ErrorBoundary>
      <TideProvider name="my-notes">
        <Notes />
      </TideProvider>
    </ErrorBoundary>
  </StrictMode>,
);
