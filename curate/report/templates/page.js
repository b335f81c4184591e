/* On paper nothing can be folded out: what was folded is open while the page is printed. */
{
  const folded = []
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details:not([open])")) {
      folded.push(details)
      details.open = true
    }
  })
  addEventListener("afterprint", () => {
    for (const details of folded.splice(0)) details.open = false
  })
}

/* What is wider than the page can be reached by keyboard, to be scrolled there. */
{
  const reach = () => {
    for (const part of document.querySelectorAll(".scroll, pre")) {
      if (part.scrollWidth > part.clientWidth) part.tabIndex = 0
      else part.removeAttribute("tabindex")
    }
  }
  reach()
  addEventListener("resize", reach)
  addEventListener("toggle", reach, true)
}
