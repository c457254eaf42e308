"use strict";
// What a served report can do with a script: keep the language that was chosen, and copy a digest.
for (const choice of document.querySelectorAll('input[name="language"]')) {
  choice.addEventListener("change", () => {
    document.documentElement.lang = choice.id;
    document.cookie = "lang=" + choice.id + "; path=/; max-age=31536000; samesite=lax";
  });
  if (choice.checked) document.documentElement.lang = choice.id;
}
if (navigator.clipboard) {
  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.setAttribute("data-done", "");
    });
  }
}
