const slider = document.getElementById("epoch");
if (slider) {
  const steps = JSON.parse(slider.dataset.steps);
  const pictures = document.querySelectorAll("#pictures > div");
  const label = document.getElementById("epoch-label");
  const show = () => {
    const [picture, text] = steps[slider.value];
    pictures.forEach((each, number) => { each.hidden = number !== picture; });
    label.textContent = text;
    slider.setAttribute("aria-valuetext", text);
  };
  slider.addEventListener("input", show);
  document.getElementById("slider").hidden = false;
  show();
}
