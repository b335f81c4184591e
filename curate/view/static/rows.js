// The page works without: this copies its command, and looks again when the texts are there.

for (const button of document.querySelectorAll("button[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}

async function lookAgain() {
  const answer = await fetch("/rows/texts");
  if (answer.ok && (await answer.json()).done) location.reload();
  else setTimeout(lookAgain, 500);
}

if (document.querySelector("[data-pending]")) setTimeout(lookAgain, 300);

// On a narrow screen the counts come folded in, so that the rows are at hand.
const counts = document.querySelector("aside details.all");
if (counts && matchMedia("(max-width:820px)").matches) counts.open = false;

// Fields that say nothing stay out of the address.
for (const form of document.querySelectorAll("form.search")) {
  form.addEventListener("formdata", ({formData}) => {
    for (const name of ["text", "column", "low", "high", "where"]) {
      if (!formData.get(name)) formData.delete(name);
    }
  });
}
