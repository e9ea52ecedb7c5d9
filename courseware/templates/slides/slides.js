// A slide must be seen whole. Its content is laid out at full size; where it is taller than the slide, it is laid out smaller.
// Where that would make it too small to read, code folds away, the longest first; a click or the key C brings it back. Where it
// would still be too small, the slide is cut in two before anything is shown.
const WIDTH = 1280, HEIGHT = 720, SMALLEST = 0.2, READABLE = 0.75, REDRAWN = 3;

function wrap(section) {
  const box = document.createElement("div");
  box.className = "fit";
  const notes = [...section.querySelectorAll(":scope > aside.notes, :scope > .fragment > aside.notes")];
  while (section.firstChild) box.appendChild(section.firstChild);
  section.appendChild(box);
  notes.forEach((note) => section.appendChild(note));  // reveal looks for them here
}

function zoomOf(box) {
  const fits = (zoom) => {
    box.style.zoom = zoom;
    box.style.width = `${WIDTH / zoom}px`;  // text gets longer lines, so less has to be taken from its size
    return box.offsetHeight * zoom <= HEIGHT && box.scrollWidth <= box.clientWidth + 1;
  };
  if (!fits(1)) {
    let low = SMALLEST, high = 1;
    while (high - low > 0.01) fits((low + high) / 2) ? (low = (low + high) / 2) : (high = (low + high) / 2);
    fits(low);
  }
  return Number(box.style.zoom);
}

function fit(section) {
  const box = section.querySelector(":scope > .fit");
  if (!box || !box.offsetParent) return;
  if (!section.dataset.zoom) {  // the first time: what was opened by hand later stays open
    const open = [...box.querySelectorAll("details.code[open]")].sort((a, b) => a.offsetHeight - b.offsetHeight);
    const answers = [...box.querySelectorAll(".course-answer:not([open])")];
    answers.forEach((answer) => (answer.open = true));  // as it will be
    while (open.length && zoomOf(box) < READABLE) open.pop().open = false;
    answers.forEach((answer) => (answer.open = false));
  }
  section.dataset.zoom = zoomOf(box);
}

// An interactive draws itself anew for the width that it is given, a frame later; so its slide is measured again.
async function settle(sections) {
  const drawn = sections.filter((section) => section.querySelector(".course-flagship"));
  for (let i = 0; drawn.length && i < REDRAWN; i++) {
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    drawn.forEach(fit);
  }
}

// A slide may be cut before a cell, an output or a paragraph; if none of these makes both parts fit, before an item of a list or
// a row of a table. Never within what moves or asks.
const CUTS = [":scope > *", ".jp-OutputArea-child, .jp-RenderedMarkdown > *", ".jp-RenderedMarkdown li, .jp-OutputArea-output tbody > tr, .jp-RenderedMarkdown tbody > tr"];
const WHOLE = ".course-explorer, .course-box, .course-quiz, .course-flagship, aside.notes";
const IS_TITLE = "h1, h2, h3, h4", LIMIT = HEIGHT / READABLE, TITLE = 70;

function cutAll() {
  const opened = [...document.querySelectorAll("details.code, .course-answer")].map((part) => [part, part.open]);
  opened.forEach(([part]) => (part.open = part.matches(".course-answer")));  // at its tallest, with its code folded
  document.documentElement.classList.add("measured");
  let titled = null;
  for (let i = 0; i < leaves.length; i++) {
    const box = leaves[i].querySelector(":scope > .fit");
    titled = [...box.querySelectorAll(IS_TITLE)].filter((title) => !title.closest(WHOLE)).at(-1) || titled;
    box.style.zoom = READABLE;
    box.style.width = `${WIDTH / READABLE}px`;
    if (box.offsetHeight * READABLE > HEIGHT) {
      const next = cut(leaves[i], box, titled);
      if (next) leaves.splice(i-- + 1, 0, next);  // and look at both again
    }
  }
  leaves.forEach((section) => section.querySelector(":scope > .fit").removeAttribute("style"));
  document.documentElement.classList.remove("measured");
  opened.forEach(([part, open]) => (part.open = open));
}

function cut(section, box, titled) {
  const top = box.getBoundingClientRect().top, whole = box.offsetHeight;
  const empty = (part) => !part.textContent.trim() && !part.querySelector("img, svg");
  const bare = (part) => part.matches(IS_TITLE) || empty(part) || [...part.querySelectorAll(".jp-RenderedMarkdown > *")].some((e) => e.matches(IS_TITLE) && !e.nextElementSibling && !e.previousElementSibling) || (part.matches(".jp-mod-noOutputs") && !part.matches(".jp-MarkdownCell"));
  let best = null;
  for (const [rank, kind] of CUTS.entries()) {
    for (const part of box.querySelectorAll(kind)) {
      const own = rank ? part.previousElementSibling : true;
      if (part.closest(WHOLE) && part.closest(WHOLE) !== part || !own || (rank && own.matches(IS_TITLE))) continue;
      const before = [...box.children].filter((cell) => !cell.contains(part) && cell.compareDocumentPosition(part) & Node.DOCUMENT_POSITION_FOLLOWING);
      const after = [...box.children].filter((cell) => !before.includes(cell));
      if ((!rank && before.every(bare)) || after.every(bare)) continue;
      const at = (part.getBoundingClientRect().top - top) / READABLE;
      const taller = Math.max(at, whole - at + TITLE);
      if (!best || taller < best.taller) best = { part: part, taller: taller };
    }
    if (best && best.taller <= LIMIT) break;
  }
  if (!best || best.taller >= whole) return null;
  const range = document.createRange();
  range.setStartBefore(best.part);
  range.setEndAfter(box.lastChild);
  const heads = best.part.matches("tr") && best.part.closest("table").tHead;
  const order = best.part.closest("ol"), items = order && best.part.matches("li") ? [...order.children].indexOf(best.part) : 0;
  const next = section.cloneNode(false), rest = box.cloneNode(false);
  rest.append(range.extractContents());
  if (heads) rest.querySelector("table").prepend(heads.cloneNode(true));
  if (items) rest.querySelector("ol").start = order.start + items;
  if (titled) {
    const title = document.createElement("div");
    title.className = "jp-Cell jp-RenderedHTMLCommon jp-RenderedMarkdown";
    title.append(document.createElement("h3"));
    title.firstChild.innerHTML = titled.innerHTML;
    title.querySelectorAll(".anchor-link").forEach((link) => link.remove());
    rest.prepend(title);
  }
  next.append(rest);
  for (const part of [next, ...rest.querySelectorAll("[id]")]) if (part === next || document.getElementById(part.id)) part.removeAttribute("id");
  section.after(next);
  return next;
}

// For printing (?print-pdf) all slides are laid out at once, and each must fit before reveal.js makes a page of it. On paper
// nothing can be clicked: every answer is open, and of what moves there is one picture, with its values in place of controls.
async function fitAll() {
  document.documentElement.classList.add("measured", "printed");
  document.querySelectorAll(".course-answer").forEach((answer) => (answer.open = true));
  leaves.forEach(fit);
  await settle(leaves);
  document.documentElement.classList.remove("measured");
}

const leaves = [...document.querySelectorAll(".slides > section, .slides > section > section")].filter((section) => !section.querySelector("section"));
leaves.forEach(wrap);
let fitting = 0;
async function fitCurrent() {
  const section = Reveal.getCurrentSlide();
  fit(section);
  document.documentElement.dataset.fitting = ++fitting;  // how many are under way, for who must see the slide as it stays
  await settle([section]);
  document.documentElement.dataset.fitting = --fitting;
}
Reveal.on("ready", () => {  // not before: a block that is open from the start toggles too, when there is no current slide yet
  fitCurrent();
  document.querySelectorAll("details.code").forEach((block) => block.addEventListener("toggle", fitCurrent));
});
Reveal.on("slidechanged", fitCurrent);

// The answer to a prediction opens at its turn, or when someone has committed to one.
const refit = () => Reveal.isReady() && fitCurrent();
document.querySelectorAll(".course-answer").forEach((answer) => {
  answer.classList.add("fragment");
  answer.addEventListener("toggle", refit);
});
const turn = (open) => (event) => event.fragments.filter((part) => part.matches("details")).forEach((part) => (part.open = open));
Reveal.on("fragmentshown", turn(true));
Reveal.on("fragmenthidden", turn(false));
document.addEventListener("course:changed", refit);

async function start() {
  cutAll();
  if (/print-pdf/i.test(location.search)) await fitAll();
  Reveal.initialize({
    width: WIDTH, height: HEIGHT, margin: 0, center: false, hash: true, slideNumber: "c/t", transition: "none",
    controlsLayout: "edges", viewDistance: 3, pdfMaxPagesPerSlide: 1, pdfSeparateFragments: false, plugins: [RevealNotes],
  });
  Reveal.addKeyBinding({ keyCode: 67, key: "C", description: document.documentElement.dataset.showCode }, () => {
    const blocks = [...Reveal.getCurrentSlide().querySelectorAll("details.code")];
    const open = !blocks.some((block) => block.open);
    blocks.forEach((block) => (block.open = open));
  });
}

// a picture that is not decoded yet has no height, and a font that is not read yet another one
Promise.allSettled([...[...document.images].map((image) => image.decode()), document.fonts.load("16px Formulas")]).then(start);
