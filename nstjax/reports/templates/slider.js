// Shows one snapshot at a time, with a slider and two buttons. Without this script, all of them are shown.
const section = document.getElementById("snapshots");
const frames = section ? [...section.querySelectorAll("figure")] : [];
if (frames.length > 1) {
  const slider = section.querySelector("input");
  const [back, forward] = section.querySelectorAll("button");
  const label = section.querySelector("output");
  const captions = frames.map((frame) => frame.querySelector("figcaption").textContent);
  const show = () => {
    const now = Number(slider.value);
    frames.forEach((frame, index) => frame.classList.toggle("shown", index === now));
    label.textContent = captions[now];
    slider.setAttribute("aria-valuetext", captions[now]);
    back.disabled = now === 0;
    forward.disabled = now === frames.length - 1;
  };
  const move = (by) => { slider.value = Number(slider.value) + by; show(); };
  slider.addEventListener("input", show);
  back.addEventListener("click", () => move(-1));
  forward.addEventListener("click", () => move(1));
  // The label is as wide as its longest text, so that the slider does not move.
  label.style.minWidth = Math.max(...captions.map((caption) => caption.length)) + "ch";
  section.classList.add("one");
  section.querySelector(".control").hidden = false;
  show();
}
