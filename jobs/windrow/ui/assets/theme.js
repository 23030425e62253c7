// Follow Airflow's theme, before anything is painted and whenever it changes. Airflow stores it as a class of its own
// <html>, which this page can read inside Airflow, and under "theme" in the browser's storage, which it can always read.
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");

  function outer() {
    try {
      return parent === window ? null : parent.document.documentElement;
    } catch {
      return null; // framed by another origin
    }
  }

  function chosen() {
    const classes = outer()?.classList;
    if (classes?.contains("dark")) return "dark";
    if (classes?.contains("light")) return "light";
    let kept = null;
    try {
      kept = localStorage.getItem("theme");
    } catch {
      // storage may be forbidden
    }
    return kept === "dark" || kept === "light" ? kept : system.matches ? "dark" : "light";
  }

  function follow() {
    document.documentElement.dataset.theme = chosen();
  }

  follow();
  system.addEventListener("change", follow);
  addEventListener("storage", follow);
  const watched = outer();
  if (watched) new MutationObserver(follow).observe(watched, { attributes: true, attributeFilter: ["class"] });
})();
