// @ts-check
// The colours of the page: those of the system, those of the switch, and light ones in print.

/**
 * An element of the page by its id.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element #${id}`);
  return found;
}

/** Whether the page is dark now, on a screen. */
export function isDark() {
  return document.documentElement.dataset.theme === "dark";
}

/**
 * The rule of the style sheet that makes the page dark.
 * @returns {CSSMediaRule | null}
 */
function darkRule() {
  for (const sheet of document.styleSheets) {
    for (const rule of sheet.cssRules) {
      if (rule instanceof CSSMediaRule && rule.media.mediaText.includes("prefers-color-scheme")) return rule;
    }
  }
  return null;
}

/**
 * Follow the system until the switch is used; `repaint` is called after each change.
 * @param {() => void} repaint
 */
export function setUpTheme(repaint) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const rule = darkRule();
  const button = element("theme");
  let chosen = false;
  const show = (/** @type {boolean} */ dark) => {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    button.textContent = dark ? "Light" : "Dark";
    if (rule && chosen) rule.media.mediaText = dark ? "screen" : "not all";
    document.documentElement.style.colorScheme = dark ? "dark" : "light";
  };
  show(system.matches);
  system.addEventListener("change", () => {
    if (chosen) return;
    show(system.matches);
    repaint();
  });
  button.addEventListener("click", () => {
    chosen = true;
    show(!isDark());
    repaint();
  });
}

/**
 * Call `change` with true before printing, and with false after it.
 * @param {(printing: boolean) => void} change
 */
export function onPrint(change) {
  let printing = false;
  const set = (/** @type {boolean} */ now) => {
    if (now === printing) return;
    printing = now;
    document.documentElement.style.colorScheme = now || !isDark() ? "light" : "dark";
    change(now);
  };
  addEventListener("beforeprint", () => set(true));
  addEventListener("afterprint", () => set(false));
  matchMedia("print").addEventListener("change", (event) => set(event.matches));
}
