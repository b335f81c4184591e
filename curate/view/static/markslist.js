// Takes marks back on the page that lists them.

import { explain, send } from "./changes.js";

for (const button of document.querySelectorAll("[data-undo]")) {
  button.addEventListener("click", async () => {
    const line = button.closest("tr"), fault = document.getElementById("fault");
    fault.hidden = true;
    try {
      const { text, rejected = null } = line.dataset;
      await send("/marks/undo", { content_hash: text, rejected });
      location.reload();
    } catch (error) {
      fault.textContent = explain(error);
      fault.hidden = false;
    }
  });
}
