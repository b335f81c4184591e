// Sliders beside the numbers, and an answer at once; without a script the form asks by its button.
import { addressOf, debounced, refresh } from "./region.js";

const form = document.getElementById("whatif");
const answer = debounced(() => refresh(addressOf(form)));

for (const slider of form.querySelectorAll("input[type=range]")) {
  const number = form.elements[slider.dataset.for];
  const whole = slider.step === "1";
  slider.hidden = false;
  slider.addEventListener("input", () => {
    number.value = whole ? slider.value : String(Number(Number(slider.value).toPrecision(4)));
  });
  number.addEventListener("input", () => { slider.value = number.value; });
}

form.addEventListener("input", () => answer());
form.addEventListener("submit", (event) => {
  event.preventDefault();
  refresh(addressOf(form));
});
// A budget counted in something else has another range.
form.elements.count?.addEventListener("change", (event) => {
  event.stopPropagation();
  form.elements.amount.value = form.elements.count.value === "fraction" ? "0.05" : form.elements.amount.value;
  location.assign(addressOf(form));
});
