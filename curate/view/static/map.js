// The map of a run. What is brushed stands in the form, whose address has the rows below; so the form alone
// does it as well.
import { Hint, Plane } from "./plane.js";
import { addressOf, debounced, refresh } from "./region.js";

const LIMITS = ["left", "right", "bottom", "top"];
// Of limits that are left out.
const FAR = [-1e9, 1e9, -1e9, 1e9];

const canvas = document.getElementById("map");
const form = document.getElementById("map-form");
const hint = new Hint(document.getElementById("hint"), canvas);

const shades = () =>
  [...document.querySelectorAll("#counts [data-colour]")].map((mark) => getComputedStyle(mark).color);

const describe = debounced(async (point, left, top) => {
  const answer = await fetch(`${canvas.dataset.point}&point=${point}`);
  if (!answer.ok || plane.hovered !== point) return;
  const row = await answer.json();
  hint.say([row.row_id, row.facts, row.text], left, top);
}, 60);

const take = (area) => {
  plane.mark(area);
  LIMITS.forEach((name, i) => { form.elements[name].value = area ? area[i].toFixed(5) : ""; });
  refresh(addressOf(form));
};

const plane = new Plane(canvas, {
  shades,
  brush: take,
  hover: (point, left, top) => {
    hint.hide();
    if (point >= 0) describe(point, left, top);
  },
});

const areaOfForm = () => {
  const values = LIMITS.map((name) => form.elements[name].value.trim());
  const numbers = values.map((value, i) => (value === "" ? FAR[i] : Number(value)));
  return values.every((value) => value === "") || numbers.some(Number.isNaN) ? null : numbers;
};

document.addEventListener("click", (event) => {
  if (!event.target.closest(".clear")) return;
  event.preventDefault();
  take(null);
});
for (const name of ["colour", "vectors"]) {
  form.elements[name]?.addEventListener("change", () => form.requestSubmit());
}

plane.steer(document.querySelector(".plane-tools"));
plane.mark(areaOfForm());
const answer = await fetch(canvas.dataset.points);
if (answer.ok) plane.show(await answer.json());
