"use strict";
// The live list: asks with the reader's key, waits for changes, and shows the newest first.
const WORDS = {
  sent: "đang ký / being signed", completed: "✓ hoàn tất / completed", withdrawn: "đã rút / withdrawn",
  expired: "quá hạn / expired", voided: "vô hiệu / voided", declined: "bị từ chối / declined", unknown: "…",
};
const FACTS = {
  ContractSent: "đã gửi / sent", PartyConfirmed: "đã đồng ý / approved", SigningRequested: "chờ ký / to be signed",
  DocumentSigned: "đã ký / signed", SignatureVerified: "chữ ký đạt / signature passed",
  SignatureRejected: "chữ ký không đạt / signature failed", SigningRefused: "không ký được / refused",
  ContractCompleted: "hoàn tất / completed", ContractExpired: "quá hạn / expired",
  ContractVoided: "vô hiệu / voided", ContractWithdrawn: "đã rút / withdrawn", PartyDeclined: "từ chối / declined",
};
const STAGES = {
  "sent to completed": "gửi đến hoàn tất / sent to completed",
  "request to signature": "yêu cầu đến ký / request to signature",
  "signature to verification": "ký đến kiểm tra / signature to verification",
  "request to verification": "yêu cầu đến kiểm tra / request to verification",
};
const element = (id) => document.getElementById(id);
const rows = new Map();
let key = "";

const CLOCK = new Intl.DateTimeFormat("en-GB", {
  timeZone: "Asia/Ho_Chi_Minh", day: "2-digit", month: "2-digit", year: "numeric", hour: "2-digit", minute: "2-digit",
});

// As people in Vietnam read it, wherever the reader is: 23/11/2026 14:05 (GMT+7).
function moment(text) {
  return CLOCK.format(new Date(text)).replace(",", "") + " (GMT+7)";
}

function cell(text, kind) {
  const found = document.createElement("td");
  found.textContent = text;
  if (kind) found.className = kind;
  return found;
}

function show(contract) {
  const last = contract.steps[contract.steps.length - 1];
  const row = document.createElement("tr");
  const kind = contract.state === "completed" ? "done" : contract.state === "sent" ? "" : "over";
  const step = last ? (FACTS[last.fact] || last.fact) + (last.slot ? " · " + last.slot : "") : "";
  const at = last ? moment(last.at) : "";
  row.append(cell(contract.contract), cell(WORDS[contract.state] || contract.state, kind), cell(step), cell(at));
  const before = rows.get(contract.contract);
  if (before) before.remove();
  rows.set(contract.contract, row);
  element("rows").prepend(row);
}

async function ask(path) {
  const reply = await fetch(path, { headers: { Authorization: "Bearer " + key } });
  const body = await reply.json();
  if (!reply.ok) throw new Error(body.detail || String(reply.status));
  return body;
}

async function figures() {
  const found = await ask("/v1/timeline/figures");
  element("stages").replaceChildren(...found.stages.map((stage) => {
    const item = document.createElement("li");
    const number = document.createElement("strong");
    number.textContent = Math.round(stage.p50) + " ms";
    item.append(number, (STAGES[stage.stage] || stage.stage) + " (p99 " + Math.round(stage.p99) + " ms, " + stage.count + ")");
    return item;
  }));
  element("figures").hidden = found.stages.length === 0;
}

async function watch() {
  let since = "";
  for (;;) {
    const found = await ask("/v1/timeline/feed" + (since ? "?since=" + since : ""));
    found.contracts.forEach(show);
    since = found.since || since;
    element("entry").hidden = true;
    element("empty").hidden = rows.size > 0;
    element("contracts").hidden = rows.size === 0;
    element("status").textContent = "Trực tiếp / live · " + rows.size;
    await figures();
    if (!since) await new Promise((wake) => setTimeout(wake, 2000));
  }
}

element("entry").addEventListener("submit", async (event) => {
  event.preventDefault();
  key = element("key").value.trim();
  element("status").textContent = "Đang tải / loading …";
  for (;;) {
    try {
      await watch();
    } catch (fault) {
      element("status").textContent = "Không xem được / cannot be shown: " + fault.message;
      if (rows.size === 0) return;
      await new Promise((wake) => setTimeout(wake, 3000));
    }
  }
});
