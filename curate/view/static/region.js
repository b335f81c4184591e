// Regions of a page, replaced by those of the same page at another address; the address bar follows.
//
//   <div id="answer" data-region>...</div>      refresh("/whatif?rows=60") takes it from that page

let running;

// Fetch a page, and put its regions in place of those that are here. A later call ends an earlier one.
export const refresh = async (address) => {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  document.body.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(address, { signal, headers: { accept: "text/html" } });
    // Templates escape every value, and what a parsed document holds neither loads nor runs.
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (signal.aborted) return;
    for (const region of document.querySelectorAll("[data-region]")) {
      const fresh = page.getElementById(region.id);
      if (fresh) region.replaceWith(document.importNode(fresh, true));
    }
    history.replaceState(null, "", address);
  } catch (error) {
    if (error.name !== "AbortError") location.assign(address);
    return;
  }
  document.body.removeAttribute("aria-busy");
};

// Return a function that calls another one when it has not been called for a while.
export const debounced = (action, milliseconds = 150) => {
  let timer;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(action, milliseconds, ...values);
  };
};

// The address that a form of method GET leads to, without what is empty.
export const addressOf = (form) => {
  const pairs = [...new FormData(form)].filter(([, value]) => value !== "");
  return `${form.getAttribute("action")}?${new URLSearchParams(pairs)}`;
};
