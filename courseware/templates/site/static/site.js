// What a page does beyond HTML and CSS: the choice of colours, and boxes that a keyboard can scroll.
const root = document.documentElement;

function stored(colours) {  // a browser may forbid storage: then the choice holds for this page
  try {
    if (colours) localStorage.setItem("colours", colours);
    return localStorage.getItem("colours");
  } catch {
    return colours;
  }
}

const chosen = stored();
if (chosen === "light" || chosen === "dark") root.dataset.colours = chosen;

function colours(button) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.colours ? root.dataset.colours === "dark" : system.matches);
  const show = () => button.setAttribute("aria-pressed", dark());
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.colours = dark() ? "light" : "dark";
    stored(root.dataset.colours);
    show();
  });
  system.addEventListener("change", show);
  show();
}

// A box that holds more than it shows is one that Tab reaches, so that the arrow keys scroll it.
const BOXES = ".highlight pre, .picture, .course-picture, .scroll, .text_html, .formula";
const watch = new ResizeObserver((entries) => {
  for (const { target: box } of entries) {
    const wide = box.scrollWidth > box.clientWidth + 1;
    box.classList.toggle("wide", wide);
    if (wide) {
      box.tabIndex = 0;
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", root.dataset.scrolls);
    } else {
      for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
    }
  }
});

document.addEventListener("DOMContentLoaded", () => {
  colours(document.querySelector("button.colours"));
  // a page that is opened as a file may not read others, from which the search takes its snippets
  if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
  document.querySelectorAll(BOXES).forEach((box) => watch.observe(box));
  for (const menu of document.querySelectorAll("nav[popover]")) {  // a link on this page leads under the open menu
    menu.addEventListener("click", (event) => event.target.closest("a") && menu.matches(":popover-open") && menu.hidePopover());
  }
});
