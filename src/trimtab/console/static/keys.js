// The keyboard: J and K move through rows or go to the neighbouring call, / searches, G and a letter goes to a page.
const PAGES = { h: "/", c: "/calls", s: "/sessions", t: "/traces", m: "/models", p: "/providers", k: "/keys", a: "/audit" };
const GOTO_MS = 1200;

// A box that is ticked takes no letters, so the keys go on working after it.
function typing(target) {
  const field = target.closest("input, textarea, select, [contenteditable]");
  return field !== null && !["checkbox", "radio", "button", "submit"].includes(field.type);
}

function rows() {
  return [...document.querySelectorAll("[data-rows] [data-row]")];
}

function move(step) {
  const all = rows();
  if (all.length === 0) {
    document.querySelector(step > 0 ? "a[rel=next]" : "a[rel=prev]")?.click();
    return;
  }
  const now = all.findIndex((row) => row.classList.contains("marked"));
  const next = Math.min(all.length - 1, Math.max(0, now + step));
  all[now]?.classList.remove("marked");
  all[next].classList.add("marked");
  all[next].querySelector("a")?.focus({ preventScroll: true });
  all[next].scrollIntoView({ block: "nearest" });
}

function help() {
  const dialog = document.getElementById("help");
  if (dialog.open) dialog.close();
  else dialog.showModal();
}

export function startKeys() {
  if (!document.getElementById("help")) return;
  document.querySelector("[data-help]")?.addEventListener("click", help);
  let gotoUntil = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (typing(event.target)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (document.querySelector("dialog[open]:not(#help), [popover]:popover-open")) return;
    const key = event.key.toLowerCase();
    if (document.getElementById("help").open && key !== "?") return;
    if (performance.now() < gotoUntil && key in PAGES) {
      gotoUntil = 0;
      document.querySelector(`a[data-nav="${PAGES[key]}"]`)?.click();
      return;
    }
    const actions = {
      j: () => move(1),
      k: () => move(-1),
      g: () => { gotoUntil = performance.now() + GOTO_MS; },
      u: () => document.querySelector("a[data-up]")?.click(),
      "?": help,
      "/": () => {
        const search = document.querySelector("main input[type=search]");
        if (search) search.select(), search.focus();
        else document.querySelector('a[data-nav="/calls"]')?.click();
      },
    };
    if (!(key in actions)) return;
    event.preventDefault();
    actions[key]();
  });
}
