// Shows what the pictures' titles say as soon as one points at them. Without this the browser does,
// more slowly.
(() => {
  const tip = document.body.appendChild(document.createElement("div"));
  tip.id = "tip";
  tip.hidden = true;
  for (const title of document.querySelectorAll("figure title")) {
    const owner = title.parentNode;
    owner.dataset.tip = title.textContent;
    owner.setAttribute("aria-label", title.textContent);
    title.remove();
  }
  const show = (owner, x, y) => {
    tip.hidden = !owner;
    if (!owner) return;
    tip.textContent = owner.dataset.tip;
    const { offsetWidth: width, offsetHeight: height } = tip;
    const left = Math.min(x + 14, innerWidth - width - 8);
    const above = y + 18 + height > innerHeight && y > height + 12;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${above ? y - height - 12 : y + 18}px`;
  };
  const owner = (event) => event.target.closest?.("[data-tip]");
  addEventListener("pointermove", (event) => show(owner(event), event.clientX, event.clientY));
  addEventListener("scroll", () => show(null), { capture: true, passive: true });
  addEventListener("focusin", (event) => {
    if (!owner(event)) return;
    const { right, bottom } = event.target.getBoundingClientRect();
    show(owner(event), right, bottom);
  });
  addEventListener("focusout", () => show(null));
})();
