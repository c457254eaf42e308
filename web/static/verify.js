"use strict";
// The page that takes a file: a dropped file is sent at once, waiting is said, a wrong file is refused before it is sent.
// Without this script the form works all the same.
const form = document.getElementById("upload");
const drop = document.getElementById("drop");
const file = document.getElementById("file");
const submit = document.getElementById("submit");
const told = document.getElementById("told");
const chosen = document.getElementById("chosen");
const SLOW = 8000;
let slow = 0;

document.documentElement.classList.add("scripted");

function say(text, kind) {
  told.className = kind || "";
  told.replaceChildren(text);
}

function fault(given) {
  if (given.size > Number(form.dataset.limit)) return form.dataset.tooBig;
  if (given.type !== "application/pdf" && !given.name.toLowerCase().endsWith(".pdf")) return form.dataset.notPdf;
  return "";
}

function rest() {
  clearTimeout(slow);
  form.removeAttribute("aria-busy");
  submit.disabled = false;
}

file.addEventListener("change", () => {
  const wrong = file.files.length ? fault(file.files[0]) : "";
  if (file.files.length) chosen.textContent = file.files[0].name;
  file.setCustomValidity(wrong);
  say(wrong, wrong ? "wrong" : "");
});

form.addEventListener("submit", (event) => {
  // A download leaves this page as it is, and never says when it is done.
  if (event.submitter && event.submitter.id === "paper") return say(form.dataset.paper);
  form.setAttribute("aria-busy", "true");
  submit.disabled = true;
  const wheel = document.createElement("span");
  wheel.className = "turning";
  wheel.setAttribute("aria-hidden", "true");
  say("", "");
  told.append(wheel, form.dataset.busy + ": " + file.files[0].name + " …");
  slow = setTimeout(() => told.append(" " + form.dataset.slow), SLOW);
});

for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
for (const name of ["dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    if (name === "drop" || event.relatedTarget === null) drop.classList.remove("over");
  });
}
document.addEventListener("drop", (event) => {
  event.preventDefault();
  if (form.getAttribute("aria-busy")) return;
  const given = event.dataTransfer.files;
  if (given.length !== 1) return say(form.dataset.oneFile, "wrong");
  file.files = given;
  file.dispatchEvent(new Event("change"));
  if (file.validationMessage) return file.focus();
  form.requestSubmit();
});
addEventListener("pageshow", (event) => { if (event.persisted) { rest(); say("", ""); } });
