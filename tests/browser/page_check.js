// What one page lacks, of what Lighthouse and axe look for: contrast, names of controls, headings, alt texts, width.
() => {
  const shown = (e) => e.checkVisibility({ visibilityProperty: true }) && e.getClientRects().length > 0;
  const say = (e) => `${e.tagName.toLowerCase()}.${e.className} ${(e.textContent || "").trim().slice(0, 40)}`;
  const number = (text) => (text.match(/[\d.]+/g) || []).map(Number);
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const painted = new Map();  // reading a canvas is slow
  const rgba = (colour) => {
    if (!painted.has(colour)) {
      canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
      painted.set(colour, [...canvas.getImageData(0, 0, 1, 1).data].map((v, i) => (i < 3 ? v : v / 255)));
    }
    return painted.get(colour);
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const backs = new Map([[null, [255, 255, 255, 1]]]);  // a page of code has thousands of words in the same few boxes
  const behind = (e) => {
    if (!backs.has(e)) {
      const colour = rgba(getComputedStyle(e).backgroundColor);
      backs.set(e, colour[3] > 0.99 ? colour : behind(e.parentElement));
    }
    return backs.get(e);
  };
  const pairs = new Map();
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !shown(e) || e.closest("svg, script, .headerlink, .skip, math")) continue;
    const [text, back] = [rgba(getComputedStyle(e).color), behind(e)];
    const [high, low] = [light(text), light(back)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) pairs.set(`${text} on ${back}`, `${ratio.toFixed(2)} ${say(e)}`);
  }
  const named = (e) => (e.getAttribute("aria-label") || e.labels?.[0]?.textContent || e.textContent || e.title || "").trim()
    || [...e.querySelectorAll("img")].map((i) => i.alt).join("");
  const headings = [...document.querySelectorAll("main :is(h1, h2, h3, h4, h5, h6)")].map((h) => Number(h.tagName[1]));
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  const boxed = (e) => e && (/auto|scroll|hidden/.test(getComputedStyle(e).overflowX) || boxed(e.parentElement));
  const wide = [...document.querySelectorAll("main *")]
    .filter((e) => shown(e) && e.getBoundingClientRect().right > innerWidth + 1 && !boxed(e.parentElement));
  return {
    contrast: [...pairs.values()],
    nameless: [...document.querySelectorAll("a[href], button, input, select, textarea, summary")]
      .filter((e) => shown(e) && !named(e)).map(say),
    titles: headings.filter((level) => level === 1).length,
    skipped: headings.filter((level, i) => i && level > headings[i - 1] + 1).length,
    pictures: [...document.images].filter((i) => !i.hasAttribute("alt") || (i.closest("main") && !i.alt)).map((i) => i.src),
    twice: ids.filter((id, i) => ids.indexOf(id) !== i),
    sideways: document.documentElement.scrollWidth - innerWidth,
    wide: wide.map(say),
    title: document.title,
    language: document.documentElement.lang,
    description: document.querySelector("meta[name=description]")?.content || "",
    social: document.querySelector("meta[property='og:image']")?.content || "",
  };
}
