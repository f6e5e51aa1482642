  // Trials: limits on hyperparameters; what fits them all is shown in lines, table and marks.
  const limits = document.querySelector(".filters");
  const lines = [...document.querySelectorAll(".trial-line")];
  const rows = [...document.querySelectorAll(".trial-row")];
  const trials = JSON.parse(document.querySelector(".parallel")?.dataset.trials ?? "[]");
  let fitting = null;
  const markFitting = () => plots.forEach((plot) => {
    const marks = "drawn" in plot.dataset ? plot.data.findIndex((trace) => trace.ids) : -1;
    if (marks < 0) return;
    const chosen = plot.data[marks].ids.flatMap((id, place) => (!fitting || fitting[id] ? [place] : []));
    Plotly.restyle(plot, { selectedpoints: [fitting ? chosen : null] }, [marks]);
  });
  const wanted = (field) => {
    const word = field.querySelector("select");
    if (word) return word.value ? (value) => value === word.value : null;
    const [low, high] = [...field.querySelectorAll("input")].map((input) => input.value);
    if (low === "" && high === "") return null;
    return (value) => value !== null
      && (low === "" || value >= Number(low)) && (high === "" || value <= Number(high));
  };
  const axisOf = (place) => document.querySelector(`.axis[data-axis="${place}"]`);
  // Where an axis shows a value, from 0 at its lower end to 1, and the other way round.
  const scaleOf = (axis) => {
    const { low, high, log } = axis.dataset;
    const [from, to] = [low, high].map((end) => (log === undefined ? Number(end) : Math.log(end)));
    return {
      share: (value) => ((log === undefined ? value : Math.log(value)) - from) / (to - from),
      value: (share) => {
        const at = from + share * (to - from);
        return Number((log === undefined ? at : Math.exp(at)).toPrecision(4));
      },
    };
  };
  const drawBrush = (field) => {
    const axis = axisOf(field.dataset.axis);
    const brush = axis.querySelector(".brush");
    const [low, high] = [...field.querySelectorAll("input")].map((input) => input.value);
    brush.toggleAttribute("hidden", !low && !high);
    if (!low && !high) return;
    const { share } = scaleOf(axis);
    const ends = [low, high].filter((end) => end !== "").map((end) => share(Number(end)));
    const falls = Number(axis.dataset.low) > Number(axis.dataset.high);
    if (low === "") ends.push(falls ? 1 : 0);
    if (high === "") ends.push(falls ? 0 : 1);
    const [bottom, top] = ends.map((end) => Math.min(Math.max(end, 0), 1)).sort((a, b) => a - b);
    const grip = axis.querySelector(".grip");
    const [y, height] = ["y", "height"].map((name) => Number(grip.getAttribute(name)));
    brush.setAttribute("y", y + height * (1 - top));
    brush.setAttribute("height", height * (top - bottom));
  };
  const filterTrials = () => {
    const fields = [...limits.querySelectorAll("fieldset")];
    const tests = fields.map(wanted);
    fields.filter((field) => field.querySelector("input")).forEach(drawBrush);
    fitting = tests.some(Boolean)
      ? trials.map((values) => tests.every((test, place) => !test || test(values[place])))
      : null;
    const fits = (place) => !fitting || fitting[place];
    lines.forEach((line) => line.classList.toggle("out", !fits(line.dataset.trial)));
    rows.forEach((row) => { row.hidden = !fits(row.dataset.trial); });
    const count = fitting ? fitting.filter(Boolean).length : trials.length;
    document.getElementById("trial-count").textContent = `${count} of ${trials.length} shown`;
    markFitting();
  };
  const dragAlong = (axis) => {
    const field = limits.querySelector(`[data-axis="${axis.dataset.axis}"]`);
    const [low, high] = field.querySelectorAll("input");
    const grip = axis.querySelector(".grip");
    let start = null;
    const valueAt = (event) => {
      const { top, height } = grip.getBoundingClientRect();
      return scaleOf(axis).value(Math.min(Math.max(1 - (event.clientY - top) / height, 0), 1));
    };
    grip.addEventListener("pointerdown", (event) => {
      start = valueAt(event);
      grip.setPointerCapture(event.pointerId);
    });
    grip.addEventListener("pointermove", (event) => {
      if (start === null) return;
      [low.value, high.value] = [start, valueAt(event)].sort((a, b) => a - b);
      filterTrials();
    });
    grip.addEventListener("pointerup", (event) => {
      // A click without a way along the axis takes its limits off.
      if (start === valueAt(event)) low.value = high.value = "";
      start = null;
      filterTrials();
    });
  };
  if (limits) {
    limits.addEventListener("input", filterTrials);
    limits.addEventListener("submit", (event) => event.preventDefault());
    limits.addEventListener("reset", () => setTimeout(filterTrials));
    document.querySelectorAll(".axis:not([data-words])").forEach(dragAlong);
    filterTrials();
  }
