// Keeps what is shown up to date. Pages work without it; it only saves pressing "reload".

const pad = (number) => String(number).padStart(2, "0");

// Times as the viewer's own clock shows them, with its offset.
function localTimes(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const time = new Date(element.dateTime);
    if (Number.isNaN(time.getTime())) continue;
    const offset = -time.getTimezoneOffset();
    const sign = offset < 0 ? "-" : "+";
    const hours = Math.floor(Math.abs(offset) / 60);
    element.textContent =
      `${time.getFullYear()}-${pad(time.getMonth() + 1)}-${pad(time.getDate())} ` +
      `${pad(time.getHours())}:${pad(time.getMinutes())}:${pad(time.getSeconds())} ` +
      `${sign}${pad(hours)}:${pad(Math.abs(offset) % 60)}`;
  }
}

function span(seconds) {
  const days = Math.floor(seconds / 86400);
  const hours = Math.floor(seconds / 3600) % 24;
  const minutes = Math.floor(seconds / 60) % 60;
  if (days > 0) return `${days}d ${hours}h`;
  if (hours > 0) return `${hours}h ${minutes}m`;
  return minutes > 0 ? `${minutes}m ${Math.floor(seconds) % 60}s` : `${Math.floor(seconds)}s`;
}

// What ends by itself counts down.
function countDown() {
  for (const element of document.querySelectorAll("[data-until]")) {
    const left = (Number(element.dataset.until) - Date.now()) / 1000;
    if (left < 4e9) element.textContent = left > 0 ? span(left) : "ended";
  }
}

// A part that somebody is typing or choosing in is left alone.
function isBusy(part) {
  const inside = part.contains(document.activeElement) && document.activeElement !== document.body;
  return inside || part.querySelector("input:checked") !== null;
}

let waiting = false;
let again = false;
async function refresh() {
  const parts = [...document.querySelectorAll("[data-live]")];
  if (parts.length === 0 || document.hidden) return;
  // What is on its way may have been written before what is asked for now.
  again = waiting;
  if (waiting) return;
  waiting = true;
  try {
    const answer = await fetch(location.href, { headers: { "X-Gatepost-Refresh": "1" }, redirect: "error" });
    if (!answer.ok) throw new Error(String(answer.status));
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of parts) {
      const next = fresh.getElementById(part.id);
      if (next && !isBusy(part) && next.innerHTML !== part.dataset.shown) {
        part.dataset.shown = next.innerHTML;
        localTimes(next);
        part.replaceChildren(...next.childNodes);
      }
    }
    countDown();
    document.body.classList.remove("stale");
    state("");
  } catch {
    state("The gateway does not answer; what you see is no longer up to date.");
  } finally {
    waiting = false;
    if (again) soon();
  }
}

let late = null;
// Brings up to date what a burst of news is about, once.
function soon() {
  late ??= setTimeout(() => {
    late = null;
    refresh();
  }, 300);
}

const every = Number(document.body.dataset.every);
let timer = null;
// Asks now and then.
function poll() {
  if (every > 0) timer ??= setInterval(refresh, every * 1000);
}

// The gateway says when something has happened. While it cannot, it is asked now and then.
function follow(element) {
  const tell = (text) => {
    element.textContent = text;
  };
  const fall = () => {
    tell(`asks every ${every} s`);
    poll();
  };
  if (typeof EventSource === "undefined") return fall();
  const source = new EventSource(element.dataset.follow);
  source.addEventListener("open", () => {
    clearInterval(timer);
    timer = null;
    tell("live");
    soon();
  });
  source.addEventListener("event", soon);
  // The browser tries again by itself, unless it was refused.
  source.addEventListener("error", fall);
}

function state(text) {
  const line = document.getElementById("link-state");
  if (line && line.textContent !== text) line.textContent = text;
}

// Packets dropped per second.
const SAMPLES = 60;
async function plot(element) {
  const line = element.querySelector(".stroke");
  const area = element.querySelector(".area");
  const caption = document.getElementById(element.dataset.caption);
  const rates = [];
  let last = null;
  const step = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch("/api/v1/status", { headers: { Accept: "application/json" } });
      const status = await answer.json();
      if (!status.kernel) return;
      const now = { at: performance.now(), dropped: status.kernel.dropped };
      if (last) rates.push(Math.max(0, (now.dropped - last.dropped) / ((now.at - last.at) / 1000)));
      last = now;
      if (rates.length > SAMPLES) rates.shift();
      const top = Math.max(1, ...rates);
      const points = rates.map((rate, place) => {
        const x = ((SAMPLES - rates.length + place) / (SAMPLES - 1)) * 300;
        return `${x.toFixed(1)},${(98 - (rate / top) * 92).toFixed(1)}`;
      });
      line.setAttribute("points", points.join(" "));
      if (points.length > 0) {
        const first = points[0].split(",")[0];
        area.setAttribute("points", `${first},100 ${points.join(" ")} 300,100`);
      }
      const current = rates.length > 0 ? rates[rates.length - 1] : 0;
      caption.textContent = `${current.toFixed(1)} packets/s now, ${top < 1.05 && current === 0 ? 0 : top.toFixed(1)} at most in two minutes`;
    } catch {
      // The line that refresh() shows says it.
    }
  };
  await step();
  setInterval(step, 2000);
}

// One box that checks all of them.
function checkAll(box) {
  box.addEventListener("change", () => {
    for (const other of box.closest("form").querySelectorAll("input[type=checkbox][name=network]")) {
      other.checked = box.checked;
    }
  });
}

localTimes(document);
countDown();
setInterval(countDown, 1000);
for (const box of document.querySelectorAll("[data-check-all]")) {
  box.closest("label").hidden = false;
  checkAll(box);
}
for (const element of document.querySelectorAll("svg[data-plot]")) plot(element);
const followed = document.querySelector("[data-follow]");
if (followed) follow(followed);
else poll();
document.addEventListener("visibilitychange", refresh);
