const slider = document.getElementById("epoch");
if (slider) {
  const steps = JSON.parse(slider.dataset.steps);
  const drawings = document.querySelectorAll("#drawings > div");
  const label = document.getElementById("epoch-label");
  const show = () => {
    const [drawing, text] = steps[slider.value];
    drawings.forEach((each, number) => { each.hidden = number !== drawing; });
    label.textContent = text;
    slider.setAttribute("aria-valuetext", text);
  };
  slider.addEventListener("input", show);
  document.getElementById("slider").hidden = false;
  show();
}
