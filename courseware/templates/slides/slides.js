// A slide must be seen whole. Its content is laid out at full size; where it is taller than the slide, it is laid out smaller.
// Where that would make it too small to read, code folds away, the longest first; a click or the key C brings it back.
const WIDTH = 1280, HEIGHT = 720, SMALLEST = 0.2, READABLE = 0.75;

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
  let zoom = zoomOf(box);
  if (!section.dataset.zoom) {  // the first time: what was opened by hand later stays open
    const open = [...box.querySelectorAll("details.code[open]")].sort((a, b) => a.offsetHeight - b.offsetHeight);
    while (zoom < READABLE && open.length) {
      open.pop().open = false;
      zoom = zoomOf(box);
    }
  }
  section.dataset.zoom = zoom;
}

// For printing (?print-pdf) all slides are laid out at once, and each must fit before reveal.js makes a page of it. On paper
// nothing can be clicked: every answer is open, and of what moves there is one picture, with its values in place of controls.
function fitAll() {
  document.documentElement.classList.add("measured", "printed");
  document.querySelectorAll(".course-answer").forEach((answer) => (answer.open = true));
  leaves.forEach(fit);
  document.documentElement.classList.remove("measured");
}

const leaves = [...document.querySelectorAll(".slides > section, .slides > section > section")].filter((section) => !section.querySelector("section"));
leaves.forEach(wrap);
const fitCurrent = () => fit(Reveal.getCurrentSlide());
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

function start() {
  if (/print-pdf/i.test(location.search)) fitAll();
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
