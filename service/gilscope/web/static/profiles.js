// Starts a capture from the form and goes to its page.
(() => {
  "use strict";
  const form = document.getElementById("begin");
  const said = document.getElementById("said");
  form?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const given = new FormData(form);
    const order = { kind: given.get("kind"), seconds: Number(given.get("seconds")), rate: Number(given.get("rate")) };
    said.textContent = "";
    try {
      const headers = { "Content-Type": "application/json", Accept: "application/json" };
      const answer = await fetch("/profiles", { method: "POST", headers, body: JSON.stringify(order) });
      if (answer.status === 202) location.assign(answer.headers.get("Location"));
      else said.textContent = (await answer.json()).detail;
    } catch {
      said.textContent = "The service does not answer.";
    }
  });
})();
