// The course's flagship interactives: plain SVG, no library, nothing from elsewhere.
//
// A page may hold this file once or a copy for each picture. It looks for `.course-flagship`, reads the data beside it, and puts
// a live view in place of the still picture. Every control is a native one (keyboard, screen readers); what can be touched in a
// picture is a second way to the same control. The text under a picture says its numbers, and is read out when it changes.
(() => {
  "use strict";
  if (window.courseFlagship) return void window.courseFlagship();

  // ---------------------------------------------------------------- elements and controls

  const SVG = "http://www.w3.org/2000/svg";
  let made = 0; // for names that must be unique in a page

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined) element.setAttribute(name, value);
    element.append(...children.filter((child) => child !== null));
    return element;
  }
  const h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
  const s = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

  function slider(label, { min, max, step = 1, value, values, show = String, on }) {
    const range = values ? { min: 0, max: values.length - 1, step: 1, value: values.indexOf(value) } : { min, max, step, value };
    const input = h("input", { type: "range", ...range });
    const output = h("b", { "aria-hidden": "true" }); // no <output>: a label would name it, not the slider
    const read = () => (values ? values[Number(input.value)] : Number(input.value));
    const say = () => {
      output.textContent = show(read());
      input.setAttribute("aria-valuetext", output.textContent);
    };
    input.addEventListener("input", () => (say(), on(read())));
    const box = h("label", { class: "fs-control" }, h("span", {}, `${label} `, output), input);
    box.set = (to) => ((input.value = values ? values.indexOf(to) : to), say());
    say();
    return box;
  }

  // options: [value, text or picture, text for screen readers]; they stay together in groups of `together`
  function choice(label, { options, value, on, together = 1 }) {
    const name = `fs-${++made}`;
    const boxes = options.map(([own, shown, spoken]) => {
      const input = h("input", { type: "radio", name, "aria-label": spoken ?? (shown instanceof Node ? String(own) : null) });
      input.checked = own === value;
      input.addEventListener("change", () => on(own));
      const box = h("label", { class: shown instanceof Node ? "fs-choice fs-picture" : "fs-choice" }, input, h("span", {}, shown));
      box.own = own;
      return box;
    });
    const groups = [];
    for (let i = 0; i < boxes.length; i += together) groups.push(h("span", { class: "fs-group" }, ...boxes.slice(i, i + together)));
    const set = h("fieldset", {}, h("legend", {}, label), h("div", { class: "fs-choices" }, ...(together > 1 ? groups : boxes)));
    set.set = (to) => boxes.forEach((box) => (box.firstChild.checked = box.own === to));
    set.boxes = boxes;
    return set;
  }

  function menu(label, { options, value, on }) {
    const select = h("select", {}, ...options.map(([own, shown]) => h("option", { value: own, selected: own === value ? "" : null }, shown)));
    select.addEventListener("change", () => on(select.value));
    return h("label", { class: "fs-control fs-menu" }, h("span", {}, label), select);
  }

  function check(label, value, on) {
    const input = h("input", { type: "checkbox" });
    input.checked = value;
    input.addEventListener("change", () => on(input.checked));
    const box = h("label", { class: "fs-check" }, input, h("span", {}, label));
    box.set = (to) => (input.checked = to);
    return box;
  }

  function button(label, on) {
    const made = h("button", { type: "button" }, label);
    made.addEventListener("click", on);
    return made;
  }

  // A part of a view: a name, controls, a picture, and a sentence that says its numbers.
  // `wide`: over all columns; "fold": only where there is no room for three.
  function panel(parent, name, { wide = false } = {}) {
    const controls = h("div", { class: "fs-controls" });
    const stage = h("div", { class: "fs-stage" });
    const status = h("p", { class: "fs-status", role: "status", "aria-live": "polite" });
    const title = h("p", { class: "fs-name" }, name);
    // no <section>: among slides that would be a slide
    const box = h("div", { class: `fs-panel${wide ? " fs-wide" : ""}${wide === "fold" ? " fs-fold" : ""}`, role: "group", "aria-label": name }, title, controls, stage, status);
    parent.append(box);
    return { box, title, controls, stage, status };
  }

  // ---------------------------------------------------------------- drawing

  // An empty picture as wide as its place; in a hidden place (a slide to come) of a usual width.
  function picture(stage, height, label) {
    const width = Math.round(stage.clientWidth) || 560;
    const svg = s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
    stage.replaceChildren(svg);
    const add = (tag, attributes, ...children) => svg.appendChild(s(tag, attributes, ...children));
    return {
      svg,
      width,
      add,
      text: (x, y, content, { anchor = "start", kind = "", size = 13 } = {}) =>
        add("text", { x, y, "text-anchor": anchor, class: kind, "font-size": size }, String(content)),
      line: (x1, y1, x2, y2, kind = "fs-rule", more = {}) => add("line", { x1, y1, x2, y2, class: kind, ...more }),
      bar: (x, y, width, height, kind = "fs-fill-a", more = {}) =>
        add("rect", { x, y, width: Math.max(0, width), height: Math.max(0, height), class: kind, ...more }),
    };
  }

  // Diagonal lines, which tell a fill apart in black and white; returns what `fill` takes.
  function hatch(p, kind = "fs-line-a") {
    const id = `fs-${++made}`;
    const line = s("path", { d: "M-1 7L7 -1M-1 1L1 -1M5 7L7 5", class: kind, "stroke-width": 1.4 });
    p.svg.prepend(s("defs", {}, s("pattern", { id, width: 6, height: 6, patternUnits: "userSpaceOnUse" }, line)));
    return `url(#${id})`;
  }

  const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;
  const whole = (number) => Math.round(number).toLocaleString("en-US");
  // A token as one sees it: spaces at its ends and line breaks become visible.
  const visible = (token) => token.replace(/\n/g, "↵").replace(/^ | $/g, "·") || "∅";
  const shorten = (token, most) => (token.length > most ? `${token.slice(0, most - 1)}…` : token);

  function bytes(number) {
    const [unit, size] = number < 1e6 ? ["kB", 1e3] : number < 1e9 ? ["MB", 1e6] : ["GB", 1e9];
    const value = number / size;
    return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${unit}`;
  }

  function unpack(base64) {
    const raw = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const numbers = new DataView(raw.buffer);
    return Float64Array.from({ length: raw.length / 2 }, (_, i) => numbers.getUint16(2 * i, true) / 65535);
  }

  // ---------------------------------------------------------------- 1 · one sentence through the transformer

  // The next token's distribution as transformers' generate cuts it: temperature, then top-k, then top-p. 0 and 1 cut nothing.
  function cut({ logits, tail }, temperature, topK, topP) {
    const best = logits[0];
    const groups = [
      ...logits.map((logit) => ({ logit, count: 1 })),
      ...tail.counts.map((count, i) => ({ logit: tail.top - tail.width * (i + 0.5), count })).filter(({ count }) => count > 0),
    ].map(({ logit, count }) => ({ count, each: Math.exp((logit - best) / temperature) }));
    const everything = groups.reduce((sum, { count, each }) => sum + count * each, 0);
    let left = topK || Infinity;
    const chosen = [];
    for (const { count, each } of groups) {
      const taken = Math.min(count, left);
      if (taken > 0) chosen.push({ count: taken, each });
      left -= taken;
    }
    const inK = chosen.reduce((sum, { count, each }) => sum + count * each, 0);
    let [kept, mass] = [0, 0];
    for (const { count, each } of chosen) {
      if (topP < 1 && kept && mass >= topP * inK) break;
      const taken = topP < 1 ? Math.min(count, Math.max(1, Math.ceil((topP * inK - mass) / each - 1e-9))) : count;
      kept += taken;
      mass += taken * each;
      if (taken < count) break;
    }
    const before = logits.map((_, i) => groups[i].each / everything);
    return { before, after: before.map((p, i) => (i < kept ? (p * everything) / mass : 0)), kept, share: mass / everything };
  }

  function transformer(root, data, say) {
    const { tokens, layers, heads } = data;
    const n = tokens.length;
    const triangle = (n * (n + 1)) / 2;
    const all = unpack(data.attention);
    const weight = (layer, head, row, column) => all[(layer * heads + head) * triangle + (row * (row + 1)) / 2 + column];
    const state = { reader: n - 1, temperature: 1, topK: 0, topP: 1, ...data.start };
    const panels = h("div", { class: "fs-panels" });
    root.append(panels);

    const sentence = panel(panels, say("tokens"), { wide: true });
    const reader = choice(say("reader"), { options: tokens.map((token, i) => [i, visible(token)]), value: state.reader, on: (i) => ((state.reader = i), draw()) });
    sentence.controls.append(reader);
    sentence.stage.remove();
    sentence.status.replaceWith(h("p", { class: "fs-hint" }, say("space")));

    const looks = panel(panels, "");
    looks.controls.append(slider(say("layer"), { min: 1, max: layers, value: state.layer + 1, on: (i) => ((state.layer = i - 1), draw()) }));
    const each = heads / data.kvHeads;
    const thumbnails = Array.from({ length: heads }, () => s("svg", { width: 26, height: 26, viewBox: `0 0 ${n} ${n}`, "aria-hidden": "true" }));
    looks.controls.append(
      choice(say("head"), {
        options: thumbnails.map((svg, i) => [i, svg, `${say("head")} ${i + 1}`]),
        value: state.head,
        on: (i) => ((state.head = i), draw()),
        together: each,
      }),
    );
    if (each > 1) looks.controls.append(h("p", { class: "fs-hint" }, say("groups", { each })));

    const grows = panel(panels, say("stream"));
    const follows = panel(panels, say("next"), { wide: "fold" });
    follows.controls.append(
      slider(say("temperature"), { min: 0.1, max: 2, step: 0.1, value: 1, show: (t) => t.toFixed(1), on: (t) => ((state.temperature = t), drawNext()) }),
      slider("top-k", { values: [0, 1, 2, 3, 5, 10, 20, 50, 100, 1000], value: 0, show: (k) => k || say("off"), on: (k) => ((state.topK = k), drawNext()) }),
      slider("top-p", { min: 0.05, max: 1, step: 0.05, value: 1, show: (p) => (p < 1 ? p.toFixed(2) : say("off")), on: (p) => ((state.topP = p), drawNext()) }),
    );

    function drawThumbnails() {
      thumbnails.forEach((svg, head) => {
        svg.replaceChildren(s("path", { d: `M0 0V${n}H${n}Z`, class: "fs-fill-soft", "fill-opacity": 0.5 }));
        for (let row = 0; row < n; row++) {
          for (let column = 0; column <= row; column++) {
            const w = weight(state.layer, head, row, column);
            if (w > 0.04) svg.append(s("rect", { x: column, y: row, width: 1, height: 1, class: "fs-fill", "fill-opacity": Math.sqrt(w).toFixed(2) }));
          }
        }
      });
    }

    function drawAttention() {
      const shares = tokens.map((_, i) => (i <= state.reader ? weight(state.layer, state.head, state.reader, i) : null));
      const strongest = shares.indexOf(Math.max(...shares.filter((share) => share !== null)));
      const status = say("attentionStatus", { layer: state.layer + 1, head: state.head + 1, reader: visible(tokens[state.reader]), read: visible(tokens[strongest]), share: (100 * shares[strongest]).toFixed(1) });
      const p = picture(looks.stage, 27 * n + 26, status);
      const [left, right] = [p.width * 0.34, p.width * 0.6];
      const y = (i) => 39 + 27 * i;
      p.text(left, 14, say("reads"), { anchor: "end", kind: "fs-dim", size: 12 });
      p.text(right, 14, say("isRead"), { kind: "fs-dim", size: 12 });
      const most = Math.max(4, Math.floor((p.width * 0.27) / 8));
      shares.forEach((share, i) => {
        if (share === null) return;
        const middle = (left + right) / 2;
        const curve = `M${left + 8} ${y(state.reader) - 4}C${middle} ${y(state.reader) - 4} ${middle} ${y(i) - 4} ${right - 8} ${y(i) - 4}`;
        p.add("path", { d: curve, class: "fs-line-a", "stroke-width": 0.6 + 10 * share, "stroke-opacity": 0.25 + 0.75 * share });
      });
      tokens.forEach((token, i) => {
        const chosen = i === state.reader;
        if (chosen) p.bar(0, y(i) - 18, left + 4, 25, "fs-fill-soft", { rx: 5 });
        p.text(left, y(i), shorten(visible(token), most), { anchor: "end", kind: chosen ? "fs-strong" : "fs-dim" });
        p.text(right, y(i), shorten(visible(token), most), { kind: shares[i] === null ? "fs-dim" : i === strongest ? "fs-strong" : "" });
        p.text(p.width, y(i), shares[i] === null ? say("masked") : percent(shares[i]), { anchor: "end", kind: shares[i] === null ? "fs-dim" : i === strongest ? "fs-strong" : "" });
        p.bar(0, y(i) - 18, left + 4, 26, "fs-hit").addEventListener("click", () => {
          state.reader = i;
          reader.set(i);
          draw();
        });
      });
      looks.title.textContent = say("attention", { layer: state.layer + 1, head: state.head + 1 });
      looks.status.textContent = status;
    }

    function drawStream() {
      const size = data.stream[state.layer + 1][state.reader];
      const guess = (layer) => data.guesses[layer][state.reader];
      const status = say("streamStatus", { layer: state.layer + 1, token: visible(tokens[state.reader]), size: size.toPrecision(3), guess: visible(data.guessPieces[guess(state.layer + 1)]), share: (100 * data.guessChances[state.layer + 1][state.reader]).toFixed(1) });
      const p = picture(grows.stage, 286, status);
      const flat = data.stream.flat();
      const [low, high] = [Math.log10(Math.min(...flat)) - 0.15, Math.log10(Math.max(...flat)) + 0.15];
      const x = (layer) => 44 + ((p.width - 56) * layer) / layers;
      const y = (value) => 24 + (180 * (high - Math.log10(value))) / (high - low);
      for (let power = Math.ceil(low); power <= high; power++) {
        p.line(44, y(10 ** power), p.width - 12, y(10 ** power), "fs-grid");
        p.text(38, y(10 ** power) + 4, power < 0 ? (10 ** power).toFixed(-power) : whole(10 ** power), { anchor: "end", kind: "fs-dim", size: 12 });
      }
      p.line(x(state.layer + 1), 20, x(state.layer + 1), 236, "fs-axis", { "stroke-dasharray": "4 3" });
      const path = (i) => data.stream.map((row, layer) => `${layer ? "L" : "M"}${x(layer).toFixed(1)} ${y(row[i]).toFixed(1)}`).join("");
      tokens.forEach((_, i) => p.add("path", { d: path(i), class: "fs-line", "stroke-opacity": 0.3, "stroke-width": 1 }));
      p.add("path", { d: path(state.reader), class: "fs-line-a", "stroke-width": 3 });
      const highest = tokens.map((_, i) => Math.max(...data.stream.map((row) => row[i])));
      const first = highest.indexOf(Math.max(...highest));
      const peak = data.stream.findIndex((row) => row[first] === highest[first]);
      p.text(x(Math.min(peak, layers - 3)), y(highest[first]) + 16, visible(tokens[first]), { kind: "fs-dim", size: 12 });
      p.add("circle", { cx: x(state.layer + 1), cy: y(size), r: 5, class: "fs-fill-a" });
      const final = guess(layers);
      for (let layer = 0; layer <= layers; layer++) {
        const wide = Math.max(2, (p.width - 56) / layers - 2);
        p.bar(x(layer) - wide / 2, 222, wide, 9, guess(layer) === final ? "fs-fill-b" : "fs-open", { rx: 1.5 });
      }
      for (const layer of [0, Math.round(layers / 3), Math.round((2 * layers) / 3), layers]) p.text(x(layer), 252, layer, { anchor: "middle", kind: "fs-dim", size: 12 });
      p.text(p.width - 12, 271, say("streamAxis"), { anchor: "end", kind: "fs-dim", size: 12 });
      p.text(44, 10, say("streamSize"), { kind: "fs-dim", size: 12 });
      grows.status.replaceChildren(status, h("br"), h("span", { class: "fs-hint" }, say("streamMark", { guess: visible(data.guessPieces[final]) })));
    }

    function drawNext() {
      const shown = 10;
      const result = cut(data.next, state.temperature, state.topK, state.topP);
      const inTail = result.kept > data.next.logits.length && result.kept < data.next.vocabulary;
      const status = say(inTail ? "nextAbout" : "nextStatus", { kept: inTail ? whole(Number(result.kept.toPrecision(2))) : whole(result.kept), vocabulary: whole(data.next.vocabulary), share: (100 * result.share).toFixed(1) });
      const p = picture(follows.stage, 27 * shown + 8, status);
      const pattern = hatch(p);
      const left = Math.min(140, p.width * 0.3);
      const longest = Math.max(result.before[0], result.after[0]);
      const scale = (p.width - left - 76) / longest;
      for (let i = 0; i < shown; i++) {
        const y = 27 * i + 20;
        const isKept = i < result.kept;
        p.text(left - 8, y, shorten(visible(data.next.tokens[i]), 15), { anchor: "end", kind: isKept ? "" : "fs-dim" });
        if (isKept) p.bar(left, y - 13, scale * result.after[i], 17, "fs-line-a", { fill: pattern }).style.fill = pattern;
        p.bar(left, y - 13, scale * result.before[i], 17, isKept ? "fs-open" : "fs-cut");
        p.text(p.width, y, isKept ? percent(result.after[i]) : say("cut"), { anchor: "end", kind: isKept ? (i ? "" : "fs-strong") : "fs-dim" });
      }
      follows.status.replaceChildren(status, h("br"), h("span", { class: "fs-hint" }, say("nextMark")));
    }

    function draw() {
      drawThumbnails();
      drawAttention();
      drawStream();
    }
    return () => (draw(), drawNext());
  }

  // ---------------------------------------------------------------- 2 · the KV cache

  function kvCache(root, data, say) {
    const { tokens, prompt } = data;
    const steps = tokens.length - prompt;
    const state = { model: data.models[0], step: Math.ceil(steps / 2), heads: data.models[0].kvHeads, bits: 16, texts: 1, cached: true };
    const panels = h("div", { class: "fs-panels" });
    root.append(panels);
    const main = panel(panels, say("writing"), { wide: true });
    const size = panel(panels, say("size"));
    const work = panel(panels, say("work"));

    // Step s feeds all tokens before token prompt + s - 1 and writes that one: it is not in the cache until the next step reads it.
    const known = () => prompt + state.step - 1;
    const step = slider(say("step"), { min: 1, max: steps, value: state.step, show: (i) => `${i} / ${steps}`, on: (i) => (stop(), (state.step = i), draw()) });
    let timer = null;
    const stop = () => {
      clearInterval(timer);
      timer = null;
      play.textContent = say("play");
    };
    const play = button(say("play"), () => {
      if (timer) return stop();
      if (state.step === steps) state.step = 0;
      const next = () => {
        if (state.step === steps || !root.isConnected) return stop();
        step.set(++state.step);
        draw();
      };
      timer = setInterval(next, 700);
      play.textContent = say("pause");
      next();
    });
    const heads = h("div");
    const offer = () => {
      const { heads: all, kvHeads } = state.model;
      const ways = [...new Set([all, kvHeads, 1])];
      heads.replaceChildren(choice(say("heads"), { options: ways.map((n) => [n, n === kvHeads ? say("published", { heads: n }) : String(n)]), value: state.heads, on: (n) => ((state.heads = n), draw()) }));
    };
    if (data.models.length > 1) {
      const pick = (name) => {
        state.model = data.models.find((model) => model.name === name);
        state.heads = state.model.kvHeads;
        offer();
        draw();
      };
      main.controls.append(menu(say("model"), { options: data.models.map(({ name }) => [name, name]), value: state.model.name, on: pick }));
    }
    offer();
    main.controls.append(heads, step);
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) main.controls.append(play);
    main.controls.append(check(say("cached"), true, (on) => ((state.cached = on), draw())));
    size.controls.append(
      choice(say("bits"), { options: [16, 8, 4].map((bits) => [bits, String(bits)]), value: 16, on: (bits) => ((state.bits = bits), draw()) }),
      slider(say("texts"), { values: [1, 2, 4, 8, 16, 32, 64], value: 1, on: (n) => ((state.texts = n), draw()) }),
    );

    const perToken = (kvHeads) => (2 * state.model.layers * kvHeads * state.model.headSize * state.bits * state.texts) / 8;

    function drawCache() {
      const { layers, headSize, heads: all } = state.model;
      const rows = state.heads;
      const status = say(state.cached ? "cacheStatus" : "noCacheStatus", { known: known(), token: visible(tokens[known()]), fresh: state.cached && state.step > 1 ? 1 : known() });
      const each = Math.max(2.4, Math.min(20, 150 / rows));
      const top = 24;
      const longest = Math.max(...tokens.map((token) => Math.min(11, visible(token).length)));
      const p = picture(main.stage, top + rows * each + 16 + 6.4 * longest, status);
      const pattern = hatch(p, "fs-line-b");
      const left = 74;
      const wide = (p.width - left - 4) / tokens.length;
      if (p.width > 520) p.text(0, 12, say("queryHeads", { heads: all }), { kind: "fs-dim", size: 12 });
      p.text(p.width, 12, say("kvHeadsOf", { heads: rows, layers, headSize }), { anchor: "end", kind: "fs-dim", size: 12 });
      const y = (row) => top + each * (row + 0.5);
      const query = (head) => top + (rows * each * (head + 0.5)) / all;
      for (let head = 0; head < all; head++) {
        p.line(8, query(head), left - 12, y(Math.floor((head * rows) / all)));
        p.add("circle", { cx: 8, cy: query(head), r: all > 16 ? 1.6 : 3.5, class: "fs-fill" });
      }
      tokens.forEach((token, i) => {
        const x = left + i * wide;
        const there = i < known();
        const fresh = there && (!state.cached || i === known() - 1 || state.step === 1);
        for (let row = 0; row < rows; row++) {
          const box = [x + 1, y(row) - each / 2 + (each > 4 ? 1 : 0), wide - 2, each > 4 ? each - 2 : each - 0.4];
          if (!there) p.bar(...box, "fs-later");
          else if (fresh) p.bar(...box, "fs-line-b").style.fill = pattern;
          else p.bar(...box, "fs-fill-a");
        }
        const at = [x + wide / 2 + 4, top + rows * each + 10];
        const kind = i === known() ? "fs-strong" : there ? "" : "fs-dim";
        if (i <= known()) p.text(...at, shorten(visible(token), 11), { anchor: "end", kind, size: 12 }).setAttribute("transform", `rotate(-60 ${at[0]} ${at[1]})`);
      });
      const now = left + known() * wide;
      p.add("rect", { x: now + 0.5, y: top - 2, width: wide - 1, height: rows * each + 4, class: "fs-cut", rx: 3 });
      main.status.replaceChildren(status, h("br"), h("span", { class: "fs-hint" }, say(state.cached ? "cacheMark" : "noCacheMark")));
    }

    function drawSize() {
      const { heads: all, kvHeads, context } = state.model;
      const ways = [...new Set([all, kvHeads, 1])];
      const now = known();
      const status = say("sizeStatus", { known: now, size: bytes(now * perToken(state.heads)), each: bytes(perToken(state.heads)), context: whole(context), full: bytes(context * perToken(state.heads)), heads: state.heads });
      const p = picture(size.stage, 44 * ways.length + 4, status);
      ways.forEach((n, i) => {
        const y = 44 * i + 14;
        const chosen = n === state.heads;
        p.text(0, y, say("way", { heads: n }), { kind: chosen ? "fs-strong" : "fs-dim" });
        p.text(p.width, y, bytes(now * perToken(n)), { anchor: "end", kind: chosen ? "fs-strong" : "fs-dim" });
        p.bar(0, y + 6, (p.width * n * now) / (all * (tokens.length - 1)), 14, chosen ? "fs-fill-a" : "fs-open", { rx: 2 });
      });
      size.status.textContent = status;
    }

    function drawWork() {
      const sums = { kept: known(), again: 0 };
      for (let i = prompt; i <= known(); i++) sums.again += i;
      const status = say("workStatus", { kept: whole(sums.kept), again: whole(sums.again), times: (sums.again / sums.kept).toFixed(1) });
      const p = picture(work.stage, 92, status);
      let most = 0;
      for (let i = prompt; i < tokens.length; i++) most += i;
      [["withCache", sums.kept, state.cached], ["withoutCache", sums.again, !state.cached]].forEach(([key, n, chosen], i) => {
        const y = 44 * i + 14;
        p.text(0, y, say(key), { kind: chosen ? "fs-strong" : "fs-dim" });
        p.text(p.width, y, whole(n), { anchor: "end", kind: chosen ? "fs-strong" : "fs-dim" });
        p.bar(0, y + 6, (p.width * n) / most, 14, chosen ? "fs-fill-b" : "fs-open", { rx: 2 });
      });
      work.status.textContent = status;
    }

    function draw() {
      drawCache();
      drawSize();
      drawWork();
    }
    return draw;
  }

  // ---------------------------------------------------------------- 3 · quantization on a number line

  // float32 as torch has it, so that a weight halfway between two codes gets the same one.
  const f32 = Math.fround;
  function roundHalfEven(value) {
    const low = Math.floor(value);
    const rest = value - low;
    return rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1;
  }

  function quantize(weights, format, bits, block, nf4) {
    const middles = nf4.slice(1).map((level, i) => f32(f32(level + nf4[i]) / 2));
    const result = { codes: [], back: [], scales: [], levels: [] };
    for (let begin = 0; begin < weights.length; begin += block) {
      const own = weights.slice(begin, begin + block).map(f32);
      const largest = Math.max(f32(1e-12), ...own.map(Math.abs));
      const top = 2 ** (bits - 1) - 1;
      const scale = format === "NF4" ? largest : f32(largest / top);
      result.scales.push(scale);
      result.levels.push(format === "NF4" ? nf4.map((level, i) => [i, level * scale]) : Array.from({ length: 2 * top + 1 }, (_, i) => [i - top, (i - top) * scale]));
      for (const weight of own) {
        const relative = f32(weight / scale);
        const code = format === "NF4" ? middles.filter((middle) => middle < relative).length : roundHalfEven(relative) + 0;
        result.codes.push(code);
        result.back.push(f32((format === "NF4" ? nf4[code] : code) * scale));
      }
    }
    return result;
  }

  function quantization(root, data, say) {
    const { nf4, formats } = data;
    const original = data.weights;
    const largest = Math.max(...original.map(Math.abs));
    const digits = Math.max(0, 2 - Math.floor(Math.log10(largest)));
    const state = { weights: [...original], ...data.start };
    const panels = h("div", { class: "fs-panels" });
    root.append(panels);
    const line = panel(panels, say("line"), { wide: true });
    const grid = panel(panels, say("codes"), { wide: true });
    const which = slider(say("weight"), { min: 1, max: original.length, value: state.weight + 1, on: (i) => select(i - 1) });
    const step = Number((largest / 50).toPrecision(1));
    const reach = step * Math.ceil((10 * largest) / step);
    const value = slider(say("value"), { min: -reach, max: reach, step: step / 10, value: 0, show: () => state.weights[state.weight].toFixed(digits), on: (to) => change(to) });
    const number = value.querySelector("input");
    number.addEventListener("keydown", (event) => {
      const up = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
      if (!up) return;
      event.preventDefault();
      change(state.weights[state.weight] + up * step);
    });
    line.controls.append(
      choice(say("format"), { options: Object.keys(formats).map((name) => [name, name]), value: state.format, on: (name) => ((state.format = name), draw()) }),
      choice(say("block"), { options: data.blocks.map((size) => [size, size === original.length ? say("row", { size }) : String(size)]), value: state.block, on: (size) => ((state.block = size), draw()) }),
    );
    const buttons = h("div", { class: "fs-choices" }, button(say("outlier"), () => change(Math.max(-reach, Math.min(reach, state.weights[state.weight] * 10)))), button(say("reset"), () => ((state.weights = [...original]), select(state.weight))));
    const second = h("div", { class: "fs-controls" }, which, value, buttons);
    line.controls.after(second);

    function select(i) {
      state.weight = i;
      which.set(i + 1);
      value.set(state.weights[i]);
      draw();
    }
    function change(to) {
      state.weights[state.weight] = Number(to.toFixed(digits)); // what is shown is what is used
      value.set(state.weights[state.weight]);
      draw();
    }

    // Dragging: the nearest dot of the upper line; the line keeps its scale until it is let go. A finger that begins upwards or
    // downwards scrolls the page, and must change nothing.
    let dragged = null;
    const place = (event) => {
      const { left } = line.stage.getBoundingClientRect();
      return ((event.clientX - left) / (line.stage.clientWidth || 1)) * 2 - 1;
    };
    const reachOfLine = () => 1.06 * Math.max(...state.weights.map(Math.abs));
    line.stage.addEventListener("pointerdown", (event) => {
      const domain = reachOfLine();
      const at = place(event) * domain;
      const near = state.weights.map((weight, i) => [Math.abs(weight - at), i]).sort((a, b) => a[0] - b[0])[0][1];
      const own = Math.abs(state.weights[state.weight] - at) < (domain * 36) / line.stage.clientWidth;
      dragged = { domain, x: event.clientX, y: event.clientY, moves: false };
      line.stage.setPointerCapture(event.pointerId);
      select(own ? state.weight : near);
    });
    line.stage.addEventListener("pointermove", (event) => {
      if (!dragged) return;
      const across = Math.abs(event.clientX - dragged.x), along = Math.abs(event.clientY - dragged.y);
      dragged.moves ||= across > 5 && across > along;
      if (dragged.moves) change(place(event) * dragged.domain);
    });
    for (const end of ["pointerup", "pointercancel"]) line.stage.addEventListener(end, () => ((dragged = null), draw()));

    function draw() {
      const bits = formats[state.format];
      const before = quantize(original, state.format, bits, state.block, nf4);
      const now = quantize(state.weights, state.format, bits, state.block, nf4);
      const block = Math.floor(state.weight / state.block);
      const [begin, end] = [block * state.block, (block + 1) * state.block];
      const changed = now.codes.filter((code, i) => code !== before.codes[i]).length;
      const own = state.weights[state.weight];
      const values = { i: state.weight + 1, weight: own.toFixed(digits), code: now.codes[state.weight], back: now.back[state.weight].toFixed(digits), error: (now.back[state.weight] - own).toFixed(digits + 1), scale: now.scales[block].toPrecision(3) };
      // the dragged weight is left out: an outlier is coded well, and would hide what it does to the others
      const sum = (term) => state.weights.reduce((all, weight, i) => (i === state.weight ? all : all + term(f32(weight), now.back[i])), 0);
      const error = Math.sqrt(sum((weight, back) => (weight - back) ** 2) / sum((weight) => weight ** 2));
      const used = new Set(now.codes.slice(begin, end)).size;
      const status = say("weightStatus", values);

      const p = picture(line.stage, 222, status);
      const domain = dragged ? dragged.domain : reachOfLine();
      const x = (at) => (p.width / 2) * (1 + at / domain);
      const [top, bottom] = [80, 174];
      p.text(0, 12, say("weightsOf", { block: block + 1, blocks: now.scales.length }), { kind: "fs-dim", size: 12 });
      p.line(0, top, p.width, top, "fs-axis");
      p.line(0, bottom, p.width, bottom, "fs-axis");
      const levels = now.levels[block];
      const apart = x(levels[1][1]) - x(levels[0][1]);
      let lastLabel = -99;
      for (const [code, level] of levels) {
        p.line(x(level), bottom - 5, x(level), bottom + 5, "fs-axis", { "stroke-width": apart < 4 ? 0.5 : 1.4 });
        if (x(level) - lastLabel < 24 && code !== 0) continue;
        if (levels.length > 20 && code % 32 !== 0 && Math.abs(code) !== 127) continue;
        if (levels.length > 20 && Math.abs(code) === 96 && apart * 31 < 26) continue;
        lastLabel = x(level);
        p.text(x(level), bottom + 20, code, { anchor: "middle", size: 12, kind: "fs-dim" });
      }
      p.text(p.width, 214, say("levels", { used, levels: levels.length }), { anchor: "end", kind: "fs-dim", size: 12 });
      const stacked = new Map();
      for (let i = 0; i < state.weights.length; i++) {
        const inside = i >= begin && i < end;
        if (inside) p.line(x(state.weights[i]), top, x(now.back[i]), bottom, i === state.weight ? "fs-line-b" : "fs-line", { "stroke-opacity": i === state.weight ? 1 : 0.28, "stroke-width": i === state.weight ? 2.5 : 1 });
        const column = Math.round(x(state.weights[i]) / 7);
        const height = inside ? stacked.get(column) || 0 : 0;
        if (inside) stacked.set(column, height + 1);
        if (inside && i !== state.weight) p.add("circle", { cx: x(state.weights[i]), cy: top - 6 * Math.min(height, 7), r: 3.2, class: "fs-fill-a", "fill-opacity": 0.85 });
        if (!inside) p.line(x(state.weights[i]), top - 3, x(state.weights[i]), top + 3, "fs-rule");
      }
      p.add("circle", { cx: x(own), cy: top, r: 9, class: "fs-line-b", "stroke-width": 3 }).classList.add("fs-fill-paper");
      p.text(Math.min(p.width - 4, Math.max(4, x(own))), top - 50, own.toFixed(digits), { anchor: x(own) < 40 ? "start" : x(own) > p.width - 40 ? "end" : "middle", kind: "fs-strong fs-label-b" });
      p.line(x(own), top - 44, x(own), top - 10, "fs-line-b");

      line.status.replaceChildren(status, h("br"), h("span", { class: "fs-hint" }, say("drag")));
      drawGrid(now, before, changed, begin, end);
      grid.status.textContent = say("rowStatus", { changed, all: original.length, bits: (bits + 32 / state.block).toFixed(2), others: original.length - 1, error: percent(error) });
    }

    function drawGrid(now, before, changed, begin, end) {
      const width = Math.round(grid.stage.clientWidth) || 560;
      const across = width < 560 ? 8 : 16;
      const rows = Math.ceil(original.length / across);
      const wide = width / across;
      const p = picture(grid.stage, rows * 30 + 2, say("gridLabel", { changed }));
      now.codes.forEach((code, i) => {
        const [x, y] = [(i % across) * wide, Math.floor(i / across) * 30 + 1];
        const differs = code !== before.codes[i];
        if (differs) p.bar(x + 1, y + 1, wide - 2, 27, "fs-fill-soft", { rx: 4 });
        if (i === state.weight) p.bar(x + 1.5, y + 1.5, wide - 3, 26, "fs-line-b", { rx: 4, "stroke-width": 2.5 });
        p.text(x + wide / 2, y + 19, code, { anchor: "middle", kind: (differs ? "fs-strong" : "") + (i < begin || i >= end ? " fs-dim" : "") });
        if (differs) p.line(x + wide * 0.28, y + 24, x + wide * 0.72, y + 24, "fs-axis", { "stroke-width": 1.5 });
        p.bar(x, y, wide, 29, "fs-hit").addEventListener("click", () => select(i));
      });
    }
    return draw;
  }

  // ---------------------------------------------------------------- 4 · byte pairs

  // The letters of byte-level BPE stand for bytes: printable ones for themselves, the others from U+0100 on (Radford et al. 2019).
  const byteOf = (() => {
    const plain = (byte) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
    const table = new Map();
    let next = 256;
    for (let byte = 0; byte < 256; byte++) table.set(String.fromCodePoint(plain(byte) ? byte : next++), byte);
    return table;
  })();

  // What a part looks like: its text, or its bytes where they are no whole letter.
  function seen(part) {
    const raw = Uint8Array.from(Array.from(part), (letter) => byteOf.get(letter));
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(raw).replaceAll(" ", "·").replaceAll("\n", "↵");
    } catch {
      return Array.from(raw, (byte) => `<${byte.toString(16).toUpperCase().padStart(2, "0")}>`).join("");
    }
  }

  function merge(parts, [left, right]) {
    const out = [];
    for (const part of parts) {
      if (out.length && out[out.length - 1] === left && part === right) out[out.length - 1] += part;
      else out.push(part);
    }
    return out;
  }

  function bytePairs(root, data, say) {
    const state = { step: Math.min(12, data.merges.length), sentence: 0, cut: 0 };
    const panels = h("div", { class: "fs-panels" });
    root.append(panels);
    const learns = panel(panels, say("learn"), { wide: true });
    const applies = panel(panels, say("apply", { merges: whole(data.tokenizer) }), { wide: true });

    const steps = slider(say("merges"), { min: 0, max: data.merges.length, value: state.step, on: (i) => ((state.step = i), drawLearnt()) });
    const next = button(say("nextMerge"), () => {
      if (state.step < data.merges.length) steps.set(++state.step);
      drawLearnt();
    });
    learns.controls.append(steps, next);
    const text = h("p", { class: "fs-tokens", role: "img" });
    const bars = h("div");
    learns.stage.append(h("p", { class: "fs-hint" }, say("pairs")), bars, text);

    // The text after each number of merges, from the step before where that is known.
    const history = [data.words.map(([word, count]) => [Array.from(word), count])];
    const samples = [data.sample.map((word) => Array.from(word))];
    function after(step) {
      while (history.length <= step) {
        const pair = data.merges[history.length - 1];
        history.push(history[history.length - 1].map(([parts, count]) => [merge(parts, pair), count]));
        samples.push(samples[samples.length - 1].map((parts) => merge(parts, pair)));
      }
      return history[step];
    }

    function chips(box, words, fresh, label) {
      box.setAttribute("aria-label", label);
      box.replaceChildren(...words.map((parts) => h("span", { class: "fs-word" }, ...parts.map((part) => h("span", { class: part === fresh ? "fs-token fs-new" : "fs-token" }, seen(part))))));
    }

    function drawLearnt() {
      const now = after(state.step);
      const pairs = new Map();
      for (const [parts, count] of now) for (let i = 1; i < parts.length; i++) pairs.set(`${parts[i - 1]} ${parts[i]}`, (pairs.get(`${parts[i - 1]} ${parts[i]}`) || 0) + count);
      const following = data.merges[state.step];
      const chosen = following && `${following[0]} ${following[1]}`;
      const top = [...pairs].sort((a, b) => (b[0] === chosen) - (a[0] === chosen) || b[1] - a[1]).slice(0, 6);
      const last = state.step && data.merges[state.step - 1];
      const size = (step) => after(step).reduce((sum, [parts, count]) => sum + parts.length * count, 0);
      const alphabet = new Set(data.words.flatMap(([word]) => Array.from(word))).size;
      const values = { step: state.step, tokens: whole(size(state.step)), bytes: whole(size(0)), vocabulary: alphabet + state.step, left: last && seen(last[0]), right: last && seen(last[1]), both: last && seen(last[0] + last[1]), count: last && whole(last[2]) };
      const status = say(last ? "learnStatus" : "startStatus", values);
      const p = picture(bars, 26 * top.length + 6, say("pairs"));
      const pattern = hatch(p);
      top.forEach(([pair, count], i) => {
        const [left, right] = pair.split(" ");
        const y = 26 * i + 20;
        p.text(104, y, `${seen(left)} + ${seen(right)}`, { anchor: "end", kind: i ? "" : "fs-strong" });
        const bar = p.bar(114, y - 13, ((p.width - 170) * count) / top[0][1], 17, i ? "fs-open" : "fs-line-a");
        if (!i) bar.style.fill = pattern;
        p.text(p.width, y, whole(count), { anchor: "end", kind: i ? "" : "fs-strong" });
      });
      chips(text, samples[state.step], last && last[0] + last[1], say("textLabel", values));
      next.disabled = state.step === data.merges.length;
      learns.status.textContent = status;
    }

    const sentence = h("p", { class: "fs-tokens", role: "img" });
    applies.stage.append(sentence);
    const slot = h("div", { class: "fs-slot" });
    const offer = () => {
      const { merges } = data.sentences[state.sentence];
      state.cut = merges.length;
      slot.replaceChildren(slider(say("merges"), { min: 0, max: merges.length, value: state.cut, show: (i) => `${i} / ${merges.length}`, on: (i) => ((state.cut = i), drawApplied()) }));
    };
    applies.controls.append(menu(say("sentence"), { options: data.sentences.map(({ text: own }, i) => [i, own.replace(/\n/g, "↵")]), value: 0, on: (i) => ((state.sentence = Number(i)), offer(), drawApplied()) }), slot);
    offer();

    function drawApplied() {
      const { words, merges, ids, text: own } = data.sentences[state.sentence];
      const made = merges.slice(0, state.cut);
      const parts = words.map((word) => made.reduce(merge, Array.from(word)));
      const count = parts.flat().length;
      const last = made[made.length - 1];
      const values = { step: state.cut, all: merges.length, count, letters: Array.from(own).length, bytes: new TextEncoder().encode(own).length, rank: last && whole(last[2]), left: last && seen(last[0]), right: last && seen(last[1]), ids: ids.join(" ") };
      const done = state.cut === merges.length;
      chips(sentence, parts, done ? null : last && last[0] + last[1], say("textLabel", { tokens: count, ...values }));
      applies.status.textContent = (last && !done ? `${say("mergeStatus", values)} ` : "") + say(done ? "idsStatus" : "countStatus", values);
    }

    return () => (drawLearnt(), drawApplied());
  }

  // ---------------------------------------------------------------- 5 · low rank

  function lowRank(root, data, say) {
    for (const update of data.updates) for (const key of ["left", "right", "corner"]) update[key] = unpack(update[key]).map((v) => 2 * v - 1);
    const state = { update: data.updates[0], rank: data.start.rank };
    const panels = h("div", { class: "fs-panels fs-two" });
    root.append(panels);
    const values = panel(panels, "");
    const memory = panel(panels, say("memory"));
    const shape = panel(panels, say("corner"), { wide: true });
    const slot = h("div", { class: "fs-slot" });
    const offer = () => {
      state.rank = state.update.ranks.includes(state.rank) ? state.rank : state.update.ranks[state.update.ranks.length - 1];
      slot.replaceChildren(slider(say("rank"), { values: state.update.ranks, value: state.rank, on: (rank) => ((state.rank = rank), draw()) }));
    };
    if (data.updates.length > 1) {
      const pick = (name) => {
        state.update = data.updates.find((update) => update.name === name);
        offer();
        draw();
      };
      values.controls.append(choice(say("matrix"), { options: data.updates.map(({ name }) => [name, name]), value: state.update.name, on: pick }));
    }
    values.controls.append(slot);
    offer();

    function drawValues() {
      const { values: all, name, shape: [outputs, inputs] } = state.update;
      const total = all.reduce((sum, value) => sum + value ** 2, 0);
      const kept = all.slice(0, state.rank).reduce((sum, value) => sum + value ** 2, 0) / total;
      const status = say("keptStatus", { rank: state.rank, all: all.length, share: (100 * kept).toFixed(1), error: (100 * Math.sqrt(Math.max(0, 1 - kept))).toFixed(1) });
      const p = picture(values.stage, 196, status);
      const shown = Math.min(all.length, Math.floor(p.width / 7));
      const wide = p.width / shown;
      p.text(p.width, 12, say("shown", { shown, all: all.length }), { anchor: "end", kind: "fs-dim", size: 12 });
      for (let i = 0; i < shown; i++) {
        const height = (158 * all[i]) / all[0];
        p.bar(i * wide + 0.5, 180 - height, wide - 1.8, height, i < state.rank ? "fs-fill-a" : "fs-open");
      }
      p.line(0, 180, p.width, 180, "fs-axis");
      for (const rank of [1, 8, 16, 32, 64, 128].filter((rank) => rank <= shown)) p.text((rank - 0.5) * wide, 194, rank, { anchor: "middle", kind: "fs-dim", size: 12 });
      values.title.textContent = `1 · ${name} (${outputs} × ${inputs}): ${say("values")}`;
      values.status.textContent = status;
    }

    // Hinton's diagram: the area of a square is the size of a number, filled for positive, open for negative.
    function hinton(p, x, y, wide, rows, columns, value, largest) {
      const cell = wide / columns;
      p.bar(x, y, wide, cell * rows, "fs-fill-soft", { "fill-opacity": 0.35 });
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++) {
          const number = value(row, column);
          const side = Math.min(1, Math.sqrt(Math.abs(number) / largest)) * (cell - 1);
          if (side < 0.7) continue;
          const inset = number < 0 ? 0.5 : 0;
          p.bar(x + (column + 0.5) * cell - side / 2 + inset, y + (row + 0.5) * cell - side / 2 + inset, side - 2 * inset, side - 2 * inset, number < 0 ? "fs-hollow" : "fs-fill-a");
        }
      }
    }

    function drawShape() {
      const { left, right, corner, largest, values: all, ranks } = state.update;
      const most = ranks[ranks.length - 2];
      const [rows, columns] = [left.length / most, right.length / most];
      const exact = (row, column) => corner[row * columns + column] * largest;
      const low = (row, column) => {
        if (state.rank > most) return exact(row, column);
        let sum = 0;
        for (let i = 0; i < state.rank; i++) sum += left[row * most + i] * all[i] * right[i * columns + column];
        return sum;
      };
      const beside = (shape.stage.clientWidth || 560) > 560;
      const width = shape.stage.clientWidth || 560;
      const wide = Math.min(480, beside ? (width - 30) / 2 : width);
      const high = (wide * rows) / columns;
      const p = picture(shape.stage, beside ? high + 22 : 2 * high + 56, say("cornerLabel", { rank: state.rank }));
      p.text(0, 12, say("exact"), { kind: "fs-dim", size: 12 });
      hinton(p, 0, 20, wide, rows, columns, exact, largest);
      const [x, y] = beside ? [wide + 30, 20] : [0, high + 54];
      p.text(x, y - 8, say("approximation", { rank: state.rank }), { kind: "fs-dim", size: 12 });
      hinton(p, x, y, wide, rows, columns, low, largest);
      shape.status.replaceChildren(h("span", { class: "fs-hint" }, say("cornerMark")));
    }

    function drawMemory() {
      const [outputs, inputs] = state.update.shape;
      const [full, small] = [outputs * inputs, state.rank * (outputs + inputs)];
      const even = (outputs * inputs) / (outputs + inputs);
      const status = say("memoryStatus", { rank: state.rank, small: whole(small), full: whole(full), share: (100 * (small / full)).toFixed(1), even: Math.ceil(even), stored: bytes(2 * small), storedFull: bytes(2 * full) });
      const p = picture(memory.stage, 96, status);
      [[say("update", { outputs, inputs }), full], [say("adapter", { rank: state.rank, outputs, inputs }), small]].forEach(([name, n], i) => {
        const y = 46 * i + 14;
        p.text(0, y, name, { kind: i ? "fs-strong" : "" });
        p.text(p.width, y, bytes(16 * n), { anchor: "end", kind: i ? "fs-strong" : "" });
        p.bar(0, y + 7, (p.width * n) / Math.max(full, small), 14, i ? "fs-fill-a" : "fs-open", { rx: 2 });
      });
      memory.status.replaceChildren(status, h("br"), h("span", { class: "fs-hint" }, say("memoryMark")));
    }

    function draw() {
      drawValues();
      drawShape();
      drawMemory();
    }
    return draw;
  }

  // ---------------------------------------------------------------- 6 · a group of answers

  function advantages(rewards, { divide, epsilon }) {
    const n = rewards.length;
    const mean = rewards.reduce((sum, reward) => sum + reward, 0) / n;
    const deviation = Math.sqrt(rewards.reduce((sum, reward) => sum + (reward - mean) ** 2, 0) / (n - 1));
    return { mean, deviation, gains: rewards.map((reward) => (reward - mean) / (divide ? deviation + epsilon : 1)) };
  }

  // One step on the logits of a softmax over these texts, along the gradient of the sum of weight · log p.
  function stepped(probabilities, pulls) {
    const all = pulls.reduce((sum, pull) => sum + pull, 0);
    const raw = probabilities.map((p, i) => p * Math.exp(pulls[i] - p * all));
    const total = raw.reduce((sum, value) => sum + value, 0);
    return raw.map((value) => value / total);
  }

  function group(root, data, say) {
    const { texts, lengths, probabilities } = data;
    const state = { rewards: [...data.rewards], divide: true, by: "own" };
    const longest = Math.max(...lengths);
    const divisors = { own: (i) => lengths[i], mean: () => lengths.reduce((sum, length) => sum + length, 0) / lengths.length, longest: () => longest };
    const panels = h("div", { class: "fs-panels fs-three" });
    root.append(panels);
    const answers = panel(panels, say("answers"), { wide: true });
    const right = h("fieldset", {}, h("legend", {}, say("right")), ...texts.map((text, i) => {
      const box = check(text, state.rewards[i] > 0, (on) => ((state.rewards[i] = on ? 1 : 0), draw()));
      box.append(h("span", { class: "fs-hint" }, say("length", { length: lengths[i] })));
      return h("div", {}, box);
    }));
    answers.controls.append(
      right,
      h("div", {},
        check(say("divide"), true, (on) => ((state.divide = on), draw())),
        choice(say("by"), { options: [["own", say("own")], ["mean", say("mean", { n: divisors.mean() })], ["longest", say("longest", { n: longest })]], value: "own", on: (by) => ((state.by = by), draw()) })),
    );
    answers.stage.remove();
    const charts = ["advantage", "weight", "probability"].map((key) => panel(panels, say(key)));

    function chart({ stage, status }, numbers, { before = null, show, label }) {
      const p = picture(stage, 40 * texts.length + 4, label);
      const pattern = hatch(p);
      const negative = numbers.some((number) => number < 0);
      const most = Math.max(1e-9, ...numbers.map(Math.abs), ...(before || []));
      const room = p.width - 62;
      const zero = negative ? room / 2 : 0;
      const scale = (negative ? room / 2 : room) / most;
      texts.forEach((text, i) => {
        const y = 40 * i + 12;
        const number = numbers[i];
        p.text(0, y, text, { kind: state.rewards[i] ? "fs-strong" : "fs-dim", size: 12 });
        const bar = p.bar(number < 0 ? zero + scale * number : zero, y + 5, scale * Math.abs(number), 15, number < 0 ? "fs-line-b" : "fs-line-a");
        if (number > 0) bar.style.fill = pattern;
        if (before) p.line(scale * before[i], y + 2, scale * before[i], y + 23, "fs-axis", { "stroke-width": 2.5 });
        p.text(p.width, y + 18, show(number), { anchor: "end", kind: "fs-strong" });
      });
      if (negative) p.line(zero, 14, zero, 40 * texts.length, "fs-axis");
      status.replaceChildren(h("span", { class: "fs-hint" }, label));
    }

    function draw() {
      const { mean, deviation, gains } = advantages(state.rewards, { divide: state.divide, epsilon: data.epsilon });
      const weights = gains.map((gain, i) => gain / divisors[state.by](i));
      const now = stepped(probabilities, weights.map((weight) => weight * longest));
      const signed = (digits) => (number) => (number > 0 ? "+" : "") + (Math.abs(number) < 10 ** -digits / 2 ? 0 : number).toFixed(digits);
      answers.status.textContent = say(deviation ? "groupStatus" : "noSignal", { mean: mean.toFixed(2), deviation: deviation.toFixed(2) });
      chart(charts[0], gains, { show: signed(2), label: say(state.divide ? "advantageMarkStd" : "advantageMark") });
      chart(charts[1], weights, { show: signed(3), label: say("weightMark") });
      chart(charts[2], now, { before: probabilities, show: (p) => percent(p), label: say("probabilityMark") });
    }
    return draw;
  }

  // ---------------------------------------------------------------- wiring

  const views = { transformer, kv_cache: kvCache, quantization, bpe: bytePairs, lora: lowRank, grpo_group: group };

  // Is the page dark behind this element? Themes of notebooks, sites and slides say so in different ways; the colour tells.
  function darkness(element) {
    for (let at = element; at; at = at.parentElement) {
      const [r, g, b, a = 1] = (getComputedStyle(at).backgroundColor.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
      if (a > 0.5) return 0.3 * r + 0.6 * g + 0.1 * b < 110;
    }
    return false;
  }

  function wire(root) {
    const source = root.querySelector("script.fs-data");
    const view = views[root.dataset.kind];
    if (!source || !view) return;
    root.dataset.wired = "";
    const data = JSON.parse(source.textContent);
    const words = data.labels[root.lang] || data.labels.en;
    const say = (key, values = {}) => words[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
    const live = h("div", { class: "fs-live" });
    live.addEventListener("keydown", (event) => {
      if (event.target.matches("input, select") && event.key !== "Tab") event.stopPropagation(); // arrows move a slider, not the slides
    });
    const draw = view(live, data, say);
    root.querySelector(".fs-still").replaceWith(live);
    let width = -1;
    const place = new ResizeObserver(() => {
      if (live.clientWidth === width) return;
      width = live.clientWidth;
      draw();
    });
    place.observe(live);
    const shade = () => (root.dataset.mode = darkness(root) ? "dark" : "light");
    const themes = new MutationObserver(shade);
    for (const element of [document.documentElement, document.body]) themes.observe(element, { attributes: true });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", shade);
    shade();
    draw();
  }

  function scan() {
    document.querySelectorAll(".course-flagship:not([data-wired])").forEach(wire);
  }
  window.courseFlagship = scan;
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", scan);
  scan();
})();
