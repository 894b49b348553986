// The live page: runs that were exported, shown at the time and the β that are chosen.
document.addEventListener("DOMContentLoaded", () => {
  const place = document.querySelector("#live");
  if (!place) return;
  const data = window.liveRuns;
  const [canvas, beta, time, play, told] = ["canvas", "#live-beta", "#live-time", "button", "output"]
    .map((name) => place.querySelector(name));
  beta.max = data.runs.length - 1;
  time.max = data.ts.length - 1;
  let timer = null;

  function draw() {
    const run = data.runs[beta.value], frame = +time.value, pen = canvas.getContext("2d");
    const style = getComputedStyle(place), size = canvas.width, middle = size / 2, radius = 0.42 * size;
    pen.clearRect(0, 0, size, size);
    pen.strokeStyle = style.getPropertyValue("--color-foreground-border");
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(middle, middle, radius, 0, 2 * Math.PI);
    pen.stroke();
    run.turns[frame].forEach((turn, i) => {
      const angle = (2 * Math.PI * turn) / 1000, start = run.turns[0][i] / 1000;
      pen.fillStyle = `hsl(${360 * start} 70% 50% / 0.7)`;
      pen.beginPath();
      pen.arc(middle + radius * Math.cos(angle), middle - radius * Math.sin(angle), 10, 0, 2 * Math.PI);
      pen.fill();
    });
    const count = run.clusters[frame];
    told.textContent = `β = ${run.beta}, t = ${data.ts[frame]}: ${count} cluster${count === 1 ? "" : "s"}`;
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  }

  play.addEventListener("click", () => {
    if (timer) return stop();
    if (+time.value >= +time.max) time.value = 0;
    play.textContent = "Stop";
    timer = setInterval(() => {
      time.value = +time.value + 1;
      draw();
      if (+time.value >= +time.max) stop();
    }, 60);
  });
  beta.addEventListener("input", draw);
  time.addEventListener("input", draw);
  draw();
});
