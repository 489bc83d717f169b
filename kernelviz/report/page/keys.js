// @ts-check
// Which shortcut a key press is, on any keyboard layout.

/** @typedef {"previous" | "next" | "scale" | "find" | "keys"} Shortcut */

/**
 * The parts of a key press that matter.
 * @typedef {Pick<KeyboardEvent, "key" | "code" | "altKey" | "ctrlKey" | "metaKey" | "getModifierState">} Press
 */

const SHORTCUTS = /** @type {Record<string, Shortcut>} */ ({
  "[": "previous",
  "]": "next",
  p: "previous",
  n: "next",
  s: "scale",
  "/": "find",
  "?": "keys",
});

/**
 * The shortcut of a key press, null if it is none. Ctrl, Alt and the command key are for the browser, except where a layout
 * needs them to type the character: AltGr, which Windows reports with Ctrl and Alt, and on a Mac Option.
 * @param {Press} press
 * @param {boolean} apple whether the keyboard is that of a Mac
 * @returns {Shortcut | null}
 */
export function shortcutOf(press, apple) {
  const { key, altKey, ctrlKey, metaKey } = press;
  const third = press.getModifierState("AltGraph") || (apple && altKey && !ctrlKey);
  if (metaKey || (!third && (ctrlKey || altKey))) return null;
  const known = SHORTCUTS[key.length === 1 ? key.toLowerCase() : ""];
  if (known) return known;
  const foreign = !third && /^[^\0-\u024f]$/.test(key); // a letter of another alphabet: the key that has the Latin one
  const letter = /^Key([A-Z])$/.exec(press.code)?.[1];
  return (foreign && letter && SHORTCUTS[letter.toLowerCase()]) || null;
}

/** Whether the keyboard is that of a Mac, on which Option types a third character. */
export function isApple() {
  return /mac|iphone|ipad/i.test(navigator.platform);
}
