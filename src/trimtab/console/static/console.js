// Starts what a page needs. Every part works on what it finds, so a page without charts has none started.
import { startKeys } from "./keys.js";
import { startCharts } from "./charts.js";
import { startOnce } from "./forms.js";

// The installation's token must not stay in the address bar, the history or a referrer.
function takeToken() {
  const found = /^#token=(.+)$/.exec(location.hash);
  if (!found) return;
  history.replaceState(null, "", location.pathname + location.search);
  const form = document.querySelector("[data-token-form]");
  if (!form) return;
  form.elements.token.value = decodeURIComponent(found[1]);
  form.requestSubmit();
}

// The server shows times in the visitor's zone, which only the browser knows.
function noteZone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (!zone || document.cookie.includes(`trimtab_zone=${zone}`)) return;
  document.cookie = `trimtab_zone=${zone}; path=/; max-age=34560000; samesite=strict`;
}

function startMenu() {
  const button = document.querySelector("[data-menu]");
  button?.addEventListener("click", () => {
    const open = document.body.classList.toggle("menu-open");
    button.setAttribute("aria-expanded", String(open));
  });
}

// A select that stands alone needs no button; empty fields stay out of the address.
function startForms() {
  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-autosubmit]");
    if (form) form.requestSubmit();
  });
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method === "get") {
      for (const field of form.elements) if (field.name && field.value === "") field.disabled = true;
      setTimeout(() => { for (const field of form.elements) field.disabled = false; });
    }
    const question = event.submitter?.dataset.confirm ?? form.dataset.confirm;
    if (question && !confirm(question)) event.preventDefault();
  });
}

function startCopy() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const text = document.querySelector(button.dataset.copy)?.textContent ?? "";
    await navigator.clipboard.writeText(text.trim());
    button.classList.add("copied");
    setTimeout(() => button.classList.remove("copied"), 1500);
  });
}

// What polls, rests while nobody looks.
function startRest() {
  document.addEventListener("htmx:before:request", (event) => {
    if (document.hidden && event.target.closest?.("[data-poll]")) event.preventDefault();
  });
}

takeToken();
noteZone();
startMenu();
startForms();
startOnce();
startCopy();
startRest();
startKeys();
startCharts();
