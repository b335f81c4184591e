// Marks rows by hand: buttons and keys on a row's page, keys and a word in the table of rows.
// Texts of rows only ever become text nodes.

import { explain, send, typing } from "./changes.js";

const WORDS = { keep: "keep", drop: "drop", correct: "corrected", none: "" };
const KEYS = { k: "keep", d: "drop", c: "correct", u: "none" };

// --- a row's page ---

async function markRow(panel) {
  const row = panel.dataset.marking;
  const find = (selector) => panel.querySelector(selector);
  const form = find("form"), text = find("textarea"), note = find("#mark-note");
  const buttons = panel.querySelectorAll("[data-mark]"), opener = find("[data-mark=correct]");
  const fault = find("[data-fault]"), said = find("[data-said]");
  let shown = "none", before = "";

  function show(mark) {
    shown = mark;
    const state = find("[data-state]");
    state.textContent = WORDS[mark];
    state.className = `mark ${mark}`;
    for (const button of buttons) {
      if (button.dataset.mark === "none") button.disabled = mark === "none";
      else button.setAttribute("aria-pressed", String(button.dataset.mark === mark));
    }
  }

  async function mark(kind, response) {
    fault.hidden = true;
    try {
      await send("/marks/set", { row_id: row, mark: kind, response, note: note.value });
    } catch (error) {
      fault.textContent = explain(error);
      fault.hidden = false;
      return;
    }
    show(kind);
    said.textContent = kind === "none" ? "The mark is taken back." : `Saved: ${WORDS[kind]}.`;
    close();
  }

  function open() {
    form.hidden = false;
    opener.setAttribute("aria-expanded", "true");
    text.focus();
    preview();
  }

  function close() {
    const inside = form.contains(document.activeElement);
    form.hidden = true;
    opener.setAttribute("aria-expanded", "false");
    if (inside) opener.focus();
  }

  function press(kind) {
    if (kind === "correct") form.hidden ? open() : close();
    else if (kind !== "none" || shown !== "none") mark(kind);
  }

  let waiting = 0;
  async function preview() {
    const turn = ++waiting;
    try {
      const sides = await send("/marks/preview", { row_id: row, response: text.value });
      if (turn === waiting) find("[data-preview]").replaceChildren(side("Before", sides.old, "del"), side("After", sides.new, "ins"));
    } catch (error) {
      find("[data-preview]").textContent = explain(error);
    }
  }

  let timer = 0;
  text.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(preview, 200);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    mark("correct", text.value);
  });
  text.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  find("[data-cancel]").addEventListener("click", () => {
    text.value = before;
    close();
  });
  note.addEventListener("change", () => {
    if (shown === "keep" || shown === "drop") mark(shown);
  });
  for (const button of buttons) button.addEventListener("click", () => press(button.dataset.mark));
  document.addEventListener("keydown", (event) => {
    if (typing(event)) return;
    if (event.key in KEYS) {
      event.preventDefault();
      press(KEYS[event.key]);
    }
    if (event.key === "j") document.querySelector("a[rel=next]")?.click();
  });

  const own = await send("/marks/row", { row_id: row });
  note.value = own.note;
  text.value = before = own.response;
  opener.disabled = own.fault !== "";
  opener.title = own.fault;
  show(own.mark);
  panel.hidden = false;
  if (location.hash === "#correct" && !opener.disabled) open();
}

function side(title, parts, tag) {
  const box = document.createElement("div");
  const heading = document.createElement("h3");
  heading.textContent = title;
  const text = document.createElement("p");
  text.className = "text";
  for (const [words, marked] of parts) {
    const piece = document.createElement(marked ? tag : "span");
    piece.textContent = words;
    text.append(piece);
  }
  box.append(heading, text);
  return box;
}

// --- the table of rows ---

async function markTable(body) {
  const lines = [...body.querySelectorAll("[data-row]")];
  const said = document.querySelector("[data-marks-said]");
  const link = (line) => line.querySelector("th a") ?? line;

  function show(line, mark) {
    line.dataset.marked = mark;
    const place = line.querySelector("[data-mark-word]");
    place.textContent = WORDS[mark];
    place.className = `mark ${mark}`;
  }

  function go(step) {
    const at = lines.findIndex((line) => line.contains(document.activeElement));
    const next = lines[at < 0 ? 0 : Math.min(Math.max(at + step, 0), lines.length - 1)];
    if (!next) return;
    if (link(next) === next) next.tabIndex = -1;
    link(next).focus();
  }

  async function mark(line, kind) {
    const row = line.dataset.row;
    try {
      await send("/marks/set", { row_id: row, mark: kind });
      show(line, kind);
      said.textContent = kind === "none" ? `${row}: the mark is taken back.` : `${row}: ${WORDS[kind]}.`;
    } catch (error) {
      said.textContent = explain(error);
    }
  }

  document.addEventListener("keydown", (event) => {
    if (typing(event)) return;
    const line = lines.find((one) => one.contains(document.activeElement));
    if (event.key === "j" || (line && event.key === "ArrowDown")) go(1);
    else if (line && event.key === "ArrowUp") go(-1);
    else if (line && event.key === "c") location.href = `${link(line).href}#correct`;
    else if (line && event.key in KEYS) {
      if (event.key !== "u" || (line.dataset.marked ?? "none") !== "none") mark(line, KEYS[event.key]);
    } else return;
    event.preventDefault();
  });

  const { rows } = await send("/marks/of", { rows: lines.map((line) => line.dataset.row) });
  for (const line of lines) if (line.dataset.row in rows) show(line, rows[line.dataset.row]);
  document.querySelector("[data-marks-help]")?.removeAttribute("hidden");
}

for (const panel of document.querySelectorAll("[data-marking]")) markRow(panel).catch(() => {});
for (const body of document.querySelectorAll("[data-mark-rows]")) markTable(body).catch(() => {});
