// Keeps the page current: the server sends parts of it as HTML, which are merged
// in place so that scrolling, focus, selection and unfolded details survive.
"use strict";

const link = document.getElementById("link"), linkText = document.getElementById("link-text");
const silence = 35000; // ms; the server sends something at least every 10 s
let skew = Number(document.body.dataset.now) - Date.now(); // server's clock minus ours
let source, heard, reloading = false;

function state(name, text) {
  link.dataset.state = name;
  if (linkText.textContent !== text) linkText.textContent = text;
}

// merge makes the element old like fresh, changing only what differs.
function merge(old, fresh) {
  if (old.nodeName !== fresh.nodeName || (old.id || "") !== (fresh.id || "")) return old.replaceWith(fresh);
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  for (const { name } of [...old.attributes])
    if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes)
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  let at = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const same = child.id && [...old.children].find((c) => c.id === child.id);
    if (same && same !== at) { old.insertBefore(same, at); at = same; }
    if (!at || (at.id && !same)) { old.insertBefore(child, at); continue; }
    const next = at.nextSibling;
    merge(at, child);
    at = next;
  }
  while (at) { const next = at.nextSibling; at.remove(); at = next; }
}

// relative has the same steps as formatRelative on the server.
function relative(time) {
  const s = Math.trunc((time - Date.now() - skew) / 1000), a = Math.abs(s);
  const text = a < 60 ? a + " s" : a < 3600 ? Math.floor(a / 60) + " min"
    : a < 172800 ? Math.floor(a / 3600) + " h" : Math.floor(a / 86400) + " d";
  return s > 0 ? "in " + text : s === 0 ? "now" : text + " ago";
}

function tick() {
  for (const t of document.querySelectorAll("time[data-relative]")) {
    const text = relative(Date.parse(t.dateTime));
    if (t.textContent !== text) t.textContent = text;
  }
  if (source && source.readyState === EventSource.OPEN && Date.now() - heard > silence) lost(true);
}

function lost(again) {
  state("lost", "Connection lost, retrying");
  if (again || source.readyState === EventSource.CLOSED) { // the browser has given up
    source.close();
    setTimeout(connect, 3000);
  }
}

function connect() {
  source = new EventSource("/events?path=" + encodeURIComponent(location.pathname + location.search));
  const hear = (event) => {
    const data = JSON.parse(event.data);
    heard = Date.now();
    skew = data.at - heard;
    state("live", "Live");
    return data;
  };
  source.onopen = () => { heard = Date.now(); };
  source.onerror = () => lost(false);
  source.addEventListener("beat", hear);
  source.addEventListener("update", (event) => {
    const data = hear(event);
    if (data.assets !== document.body.dataset.assets) { // another binary: its script and style too
      if (!reloading) location.reload();
      reloading = true;
      return;
    }
    document.title = data.title;
    for (const { id, html } of data.swap) {
      const holder = document.createElement("template");
      holder.innerHTML = html;
      const old = document.getElementById(id);
      if (old) merge(old, holder.content.firstElementChild);
    }
    tick();
  });
}

setInterval(tick, 1000);
tick();
connect();
