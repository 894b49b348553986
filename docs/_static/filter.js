// The gallery's filter: figures and fields without the words that are typed are hidden.
document.addEventListener("DOMContentLoaded", () => {
  const filter = document.querySelector("#filter");
  if (!filter) return;
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/);
    for (const tiles of document.querySelectorAll(".tiles")) {
      const field = tiles.parentElement.querySelector("h2").textContent;
      let shown = 0;
      for (const figure of tiles.querySelectorAll("figure")) {
        const text = `${figure.textContent} ${figure.querySelector("img").alt} ${field}`.toLowerCase();
        figure.hidden = !words.every((word) => text.includes(word));
        shown += !figure.hidden;
      }
      tiles.parentElement.hidden = !shown;
    }
  });
});
