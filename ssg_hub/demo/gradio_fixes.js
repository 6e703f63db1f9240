// Names and keys that Gradio's parts lack: the examples get names, and the slider's handle obeys the arrow keys.
() => {
  const heading = group => document.querySelector(`#${group} .label`)?.innerText.trim() ?? "";
  const mend = () => {
    for (const button of document.querySelectorAll("#examples button, #failure button, #more_examples button")) {
      const source = button.querySelector("img")?.getAttribute("src");
      if (!source || button.hasAttribute("aria-label")) continue;
      const file = decodeURIComponent(source.split("/").pop()).replace(/\.\w+$/, "").replaceAll("_", " ");
      button.setAttribute("aria-label", `${heading(button.closest("[id]").id)}: ${file}`);
    }
    const handle = document.querySelector("#slider [data-testid=slider]:not([tabindex])");
    if (handle) {
      handle.tabIndex = 0;
      handle.setAttribute("role", "slider");
      handle.setAttribute("aria-label", document.querySelector("[role=tab][aria-selected=true]")?.innerText ?? "");
      handle.setAttribute("aria-valuenow", "50");
    }
  };
  const press = event => {
    const handle = event.target.closest?.("#slider [data-testid=slider]");
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!handle || !step) return;
    event.preventDefault();
    const grip = handle.querySelector(".inner").getBoundingClientRect();
    const area = handle.parentElement.getBoundingClientRect();
    const from = grip.left + grip.width / 2, y = grip.top + grip.height / 2;
    const to = Math.min(area.right, Math.max(area.left, from + step * area.width / 20));
    // Gradio moves the handle by d3-drag, which listens to the mouse.
    const mouse = (type, target, x) =>
      target.dispatchEvent(new MouseEvent(type, { bubbles: true, cancelable: true, view: window, clientX: x, clientY: y }));
    mouse("mousedown", handle, from);
    mouse("mousemove", window, to);
    mouse("mouseup", window, to);
    handle.setAttribute("aria-valuenow", String(Math.round(100 * (to - area.left) / area.width)));
  };
  document.addEventListener("keydown", press);
  new MutationObserver(mend).observe(document.body, { childList: true, subtree: true });
  mend();
}
