// Explorers, predictions and quizzes without a kernel. Plain JavaScript; finds its blocks and wires each once, however often it
// is included. What a reader sees is written in the blocks (course_utils/words.py); this file holds no words.
(() => {
  "use strict";
  const all = (within, selector) => [...within.querySelectorAll(selector)];
  const words = (block) => JSON.parse(block.dataset.words);
  const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, key) => values[key]);
  const tell = (block, kind) => block.dispatchEvent(new CustomEvent(kind, { bubbles: true }));

  // Arrows move a slider, not the slides. Escape gives the keys back.
  function keepKeys(block) {
    block.addEventListener("keydown", (event) => {
      if (event.key === "Escape") event.target.blur();
      else if (!event.target.matches("input, select") && !["Enter", " "].includes(event.key)) return;
      event.stopPropagation();
    });
  }

  function explorer(block) {
    const data = JSON.parse(block.querySelector(".course-data").textContent);
    const image = block.querySelector("img"), text = block.querySelector(".course-text");
    const status = block.querySelector(".course-status"), frame = block.querySelector(".course-picture");
    const inputs = all(block, ".course-controls input, .course-controls select");
    const place = (input) => (input.type === "checkbox" ? Number(input.checked) : Number(input.value));
    const first = image && image.src;

    function show() {
      let index = 0;
      inputs.forEach((input, i) => {
        const control = data.controls[i], value = control.values[place(input)];
        index = index * control.values.length + place(input);
        if (input.type === "range") {
          input.setAttribute("aria-valuetext", value);
          input.nextElementSibling.textContent = value;
        }
      });
      const [picture, said, alt] = data.frames[index];
      frame.hidden = picture < 0;
      if (picture >= 0) {
        image.src = data.pictures[picture] ? "data:image/png;base64," + data.pictures[picture] : first;
        image.alt = data.alts[alt];
      }
      text.hidden = !data.texts[said];
      if (text.innerHTML !== data.texts[said]) text.innerHTML = data.texts[said];
      const shown = inputs.map((input, i) => data.controls[i].label + ": " + data.controls[i].values[place(input)]).join(", ");
      if (status.textContent !== shown) status.textContent = shown;
      tell(block, "course:changed");
    }

    inputs.forEach((input) => input.addEventListener("input", show));
    block.querySelector(".course-controls").hidden = false;
    block.querySelector(".course-static").hidden = true;
    status.classList.add("course-unseen");  // beside the controls only a screen reader needs it
    show();
  }

  // What a reader has said to each question, by its name: { value, text }. It lives as long as the page, and all copies of this
  // script share it: an output that comes later, or comes back into view, brings another copy.
  const said = (window.courseSaid ??= new Map());

  // In Colab each output is a page of its own, of one origin: what was said in one is told to the others.
  const others = document.querySelector("[data-frames]") && window.BroadcastChannel && new BroadcastChannel("course");
  if (others)
    others.onmessage = ({ data: { name, guess } }) => {
      if (!guess && said.has(name)) others.postMessage({ name: name, guess: said.get(name) });
      else if (guess && !said.has(name)) heard(name, guess);
    };

  function heard(name, guess) {
    said.set(name, guess);
    all(document, ".course-reveal").filter((block) => block.dataset.of === name).forEach(reveal);
  }

  function judge(key, value) {
    if (key.answer === undefined) return undefined;
    const answer = Number(key.answer);
    if (key.tolerance === undefined) return value === answer;
    return Math.abs(value - answer) <= Number(key.tolerance) * Math.abs(answer) * (1 + 1e-9);
  }

  function verdict(block, guess, withGuess) {
    const say = words(block), right = judge(block.dataset, guess.value);
    const line = block.querySelector(".course-verdict"), answer = block.querySelector(".course-answer");
    const spoken = withGuess ? [filled(say.said, { said: guess.text })] : [];
    if (right === undefined) line.textContent = filled(say.noted, { said: guess.text });
    else line.textContent = [...spoken, right ? "\u2713 " + say.right : "\u2717 " + say.wrong].join(" ");
    block.dataset.verdict = right === undefined ? "noted" : right ? "right" : "wrong";
    if (answer) {
      all(answer, "li").forEach((item) => {
        item.hidden = ![guess.value, Number(block.dataset.answer)].includes(Number(item.dataset.option));
      });
      answer.hidden = false;
      answer.open = true;
    }
    return right;
  }

  function question(block, id) {
    const button = block.querySelector(".course-commit"), number = block.querySelector("input[type=number]");
    const choices = all(block, "input[type=radio]"), answer = block.querySelector(".course-answer");
    choices.forEach((choice) => (choice.name = block.dataset.name + "-" + id));  // asked twice, answered twice
    button.hidden = false;
    function commit() {
      const chosen = choices.find((choice) => choice.checked);
      if (number ? number.value === "" : !chosen) {
        block.querySelector(".course-verdict").textContent = number ? words(block).number : words(block).choose;
        (number || choices[0]).focus();
        return;
      }
      const guess = number
        ? { value: Number(number.value), text: (number.value + " " + number.parentElement.lastChild.textContent.trim()).trim() }
        : { value: Number(chosen.value), text: chosen.nextElementSibling.textContent };
      [...choices, number, button].forEach((control) => control && (control.disabled = true));
      if (chosen) chosen.parentElement.classList.add("course-said");
      verdict(block, guess, false);
      heard(block.dataset.name, guess);
      if (others) others.postMessage({ name: block.dataset.name, guess: guess });
      tell(block, "course:changed");
      const quiz = block.closest(".course-quiz");
      if (quiz) score(quiz);
    }
    button.addEventListener("click", commit);
    if (number) number.addEventListener("keydown", (event) => event.key === "Enter" && commit());
  }

  function reveal(block) {
    if (said.has(block.dataset.of)) verdict(block, said.get(block.dataset.of), true);
    else if (others) others.postMessage({ name: block.dataset.of });
  }

  function score(quiz) {
    const blocks = all(quiz, ".course-question"), right = blocks.filter((block) => block.dataset.verdict === "right").length;
    if (blocks.every((block) => block.dataset.verdict))
      quiz.querySelector(".course-score").textContent = filled(words(quiz).score, { right: right, all: blocks.length });
  }

  function wire() {
    all(document, ".course-explorer, .course-question, .course-reveal").forEach((block, i) => {
      if (block.dataset.wired) return;
      block.dataset.wired = "true";
      keepKeys(block);
      if (block.matches(".course-explorer")) explorer(block);
      else if (block.matches(".course-question")) question(block, i);
      else reveal(block);
    });
  }

  document.addEventListener("course:wire", wire);  // by a block that comes later (wire.js)
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", wire);
  else wire();
})();
