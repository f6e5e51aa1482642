"use strict";
(async () => {
  document.documentElement.classList.add("has-script");
  const { figures, gains } = JSON.parse(document.getElementById("content").textContent);
  // A script of its own, so that the policy's digest admits plotly and nothing else.
  const loadPlotly = async () => {
    const packed = atob(document.getElementById("library").textContent);
    const bytes = Uint8Array.from(packed, (character) => character.charCodeAt(0));
    const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(unpacked).text();
    document.head.append(script);
  };

  // Named buttons only: among plotly's default ones is one that uploads the figure.
  const config = {
    displaylogo: false,
    modeBarButtons: [["toImage", "zoom2d", "resetScale2d"]],
    plotlyServerURL: "",
    responsive: true,
  };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const plots = [...document.querySelectorAll(".plot")];
  const select = document.getElementById("gain-trial");

  // The page's own colours, so that figures follow light, dark and paper.
  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    return {
      "font.color": of("--ink"),
      "hoverlabel.bgcolor": of("--card"),
      "hoverlabel.bordercolor": of("--line"),
      "hoverlabel.font.color": of("--ink"),
    };
  };
  const resize = (part) => part.querySelectorAll("[data-drawn]").forEach((plot) => {
    if (plot.offsetWidth) Plotly.Plots.resize(plot);
  });
  const recolour = () => plots.forEach((plot) => Plotly.relayout(plot, colours()));

  // Plotly's legend listens to the mouse only.
  const reachByKeyboard = (plot) => {
    plot.querySelectorAll(".legendtoggle").forEach((toggle) => {
      const entry = toggle.parentNode.querySelector(".legendtext");
      toggle.setAttribute("tabindex", "0");
      toggle.setAttribute("role", "button");
      toggle.setAttribute("aria-label", `Show or hide ${entry ? entry.textContent : "line"}`);
      toggle.onkeydown = (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        toggle.dispatchEvent(new MouseEvent("mousedown"));
        toggle.dispatchEvent(new MouseEvent("mouseup"));
      };
    });
  };

  const draw = async (plot, { content }) => {
    // The first figure is as high as the screen lets it be.
    if (plot.closest(".first-screen")) delete content.layout.height;
    // Whenever its width changes, plotly takes the height of where it draws.
    else plot.style.height = `${content.layout.height}px`;
    await Plotly.react(plot, content.data, content.layout, config);
    Plotly.relayout(plot, colours());
  };

  // Decisions: a text and a reason, told apart by what rows show; without either, all are shown.
  const filter = document.querySelector(".filter");
  const filterDecisions = () => {
    const text = document.getElementById("filter-text").value.trim().toLowerCase();
    const reason = document.getElementById("filter-reason").value;
    const changes = document.getElementById("changes-only").checked;
    let shown = 0;
    let all = 0;
    document.querySelectorAll("details.trial").forEach((trial) => {
      const named = trial.querySelector("summary").textContent.toLowerCase().includes(text);
      const rows = [...trial.querySelectorAll("tr.run")];
      const found = rows.filter((row) => {
        const fits = (named || row.textContent.toLowerCase().includes(text))
          && (!reason || row.querySelector(".reason").textContent === reason)
          && (!changes || !row.classList.contains("kept"));
        row.hidden = !fits;
        return fits;
      }).length;
      trial.hidden = !found && Boolean(text || reason);
      if (found && (text || reason)) trial.open = true;
      shown += found;
      all += rows.length;
    });
    document.getElementById("filter-count").textContent = `${shown} of ${all} shown`;
  };
  filter?.addEventListener("input", filterDecisions);
  filter?.addEventListener("submit", (event) => event.preventDefault());
  if (filter) filterDecisions();

{% include "trials.js" %}

  if (!plots.length) return;
  await loadPlotly();
  document.querySelectorAll("#no-figures").forEach((note) => { note.hidden = true; });
  plots.forEach(async (plot) => {
    await draw(plot, "gain" in plot.dataset ? gains[0] : figures[plot.dataset.figure]);
    reachByKeyboard(plot);
    plot.on("plotly_afterplot", () => reachByKeyboard(plot));
    plot.dataset.drawn = "";
    markFitting();
  });
  // What was drawn while it could not be seen has not the width that it has now.
  document.querySelectorAll("details").forEach((details) => {
    details.addEventListener("toggle", () => resize(details));
  });
  select?.addEventListener("change", () => {
    draw(document.querySelector("[data-gain]"), gains[select.value]);
    document.getElementById("title-gain").textContent = gains[select.value].title;
  });
  dark.addEventListener("change", recolour);
  addEventListener("beforeprint", () => {
    document.querySelectorAll("details").forEach((details) => { details.open = true; });
    document.documentElement.dataset.paper = "";
    resize(document);
    recolour();
  });
  addEventListener("afterprint", () => {
    delete document.documentElement.dataset.paper;
    recolour();
  });
})();
