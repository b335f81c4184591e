// Labels a row by a button or a key, and goes on to the next one in the same page.

import { explain, send, typing } from "./changes.js";
import { refresh } from "./region.js";

const KEYS = { y: "true", n: "false", s: "null" };
const find = (selector) => document.querySelector(selector);
let busy = false;

// While a change is under way keys do nothing: the row that they were meant for may be another by then.
async function change(path, body) {
  if (busy) return;
  busy = true;
  const fault = find("#fault");
  fault.hidden = true;
  try {
    await send(path, body);
    await refresh("/label");
    (find("[data-label]") ?? find("#content")).focus();
  } catch (error) {
    fault.textContent = explain(error);
    fault.hidden = false;
  }
  busy = false;
}

function label(value) {
  const row = find("[data-label]")?.dataset.label;
  if (row !== undefined) change("/label/set", { row_id: row, correct: JSON.parse(value) });
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.correct) label(button.dataset.correct);
  else if (button && "back" in button.dataset) change("/label/undo", {});
  else if (button && "again" in button.dataset) change("/label/undo", { skipped: true });
});
document.addEventListener("submit", (event) => {
  if (event.target.id !== "draw") return;
  event.preventDefault();
  change("/label/draw", { count: Number(find("#rows").value) });
});
document.addEventListener("keydown", (event) => {
  if (typing(event) || event.repeat) return;
  if (event.key in KEYS) label(KEYS[event.key]);
  else if (event.key === "u" && find("[data-back]:not(:disabled)")) change("/label/undo", {});
});
