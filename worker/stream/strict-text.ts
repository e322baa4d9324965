/** Texts that clients send must be UTF-8. Other bytes throw a TypeError. A byte-order mark is part of the text. */
export const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
