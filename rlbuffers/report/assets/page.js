// Fills every figure with the page's data, and switches between light and dark.
const DATA = JSON.parse(document.getElementById("report-data").textContent);

for (const place of document.querySelectorAll(".plot")) {
  const { kind, key } = place.dataset;
  CHARTS[kind](place, key === "episodes" ? DATA.episodes : DATA.figures[key], key);
}

const theme = document.getElementById("theme");
const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (prefersDark.matches ? "dark" : "light")) === "dark";
const nameTheme = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
theme.addEventListener("click", () => { document.documentElement.dataset.theme = isDark() ? "light" : "dark"; nameTheme(); });
prefersDark.addEventListener("change", nameTheme);
nameTheme();
